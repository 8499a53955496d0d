"""What live servers did (observed 2026-11-21), lesson by lesson: the tests that show it cannot happen to an order of ours."""

from __future__ import annotations

from collections.abc import Mapping

from .table import Row, shown

L = "journeys/test_lessons.py"

LESSONS: Mapping[str, Row] = {
    "1 cursors: 300 orders of one second over pages of 100": shown(
        "a plain time cursor loses or stalls",
        f"{L}::test_lesson_1_three_hundred_orders_of_one_second_over_pages_of_a_hundred",
        "journeys/test_bad_inputs_pages.py::test_twenty_five_orders_of_one_second_over_pages_of_ten",
        "connectors/test_vendure.py::test_orders_of_one_moment_are_all_found",
    ),
    "1 cursors: the stamp is the start of the remote transaction": shown(
        "400 of 400 orders of an open transaction are found, by the poll or by the sweep",
        f"{L}::test_lesson_1_nothing_of_a_transaction_that_was_open_while_the_cursor_moved_is_lost",
        f"{L}::test_lesson_1_the_same_whole_way_and_a_transaction_longer_than_the_look_back",
    ),
    "2 an error inside 200, in each shape": shown(
        "never a confirmation, never no orders",
        f"{L}::test_lesson_2_an_error_inside_200_is_never_a_confirmation",
        f"{L}::test_lesson_2_a_typed_result_may_be_an_error",
        "journeys/test_bad_inputs_pages.py::test_a_reply_that_is_no_page_is_a_failure_and_the_cursor_stays",
    ),
    "2 a 400 for a missing order": shown(
        "refused, no outage", f"{L}::test_lesson_2_a_missing_order_may_be_a_400_and_is_no_outage", stored=False
    ),
    "3 succeeded, and nothing happened": shown(
        "only a second look proves a shipment, a confirmation, a push",
        f"{L}::test_lesson_3_a_shipment_that_says_success_and_ships_nothing_is_not_confirmed",
        f"{L}::test_lesson_3_a_channel_that_says_yes_and_shows_nothing_is_asked_again",
        f"{L}::test_lesson_3_a_warehouse_that_says_yes_and_has_nothing_is_told_to_a_person",
    ),
    "4 a reference is accepted twice": shown(
        "the hub looks before it repeats",
        f"{L}::test_lesson_4_a_target_that_takes_the_same_reference_twice_gets_it_once",
        "connectors/test_shopify.py::test_confirms_once_however_often_it_is_told",
        "connectors/test_vendure.py::test_a_crash_between_the_two_calls_is_repaired_without_a_second_fulfilment",
    ),
    "4 one duplicate fails the whole bulk call": shown(
        "the others are looked up and sent alone",
        f"{L}::test_lesson_4_one_refused_of_many_is_refused_alone",
        "pipeline/test_dispatch.py::test_one_refused_order_of_a_call_is_refused_alone_and_the_others_are_looked_up",
        "outbound/test_qimen.py::test_an_order_of_a_call_that_is_there_already_is_found",
    ),
    "5 paging: broken scheme, raw colon, offsets that move": shown(
        "our scheme and host, encoded queries, read again until nothing moves",
        f"{L}::test_lesson_5_a_next_link_with_a_broken_scheme_keeps_ours",
        f"{L}::test_lesson_5_a_next_link_to_another_host_is_not_followed",
        f"{L}::test_lesson_5_a_colon_in_a_query_is_written_so_that_it_breaks_nothing",
        "wire/test_paging.py::test_offset_paging_reads_again_until_nothing_moves",
        "wire/test_paging.py::test_offset_paging_gives_up_on_a_list_that_never_rests",
        stored=False,
    ),
    "6 time: two local formats, naive UTC, twins": shown(
        "one instant each",
        f"{L}::test_lesson_6_local_times_in_two_formats_naive_utc_and_twins_are_one_instant",
        stored=False,
    ),
    "7 money: every way to write it, sub-cents": shown(
        "exact or refused",
        f"{L}::test_lesson_7_every_way_to_write_an_amount_is_exact_or_refused",
        f"{L}::test_lesson_7_a_total_with_sub_cents_is_one_exception",
    ),
    "8 webhooks: an unsigned form-encoded ping": shown(
        "refused", f"{L}::test_lesson_8_an_unsigned_form_encoded_ping_changes_nothing"
    ),
    "8 webhooks: created comes late, says completed, equals updated": shown(
        "only a hint: the shop itself is read",
        f"{L}::test_lesson_8_a_created_that_comes_late_and_says_cancelled_is_only_a_hint",
        f"{L}::test_lesson_8_a_hint_before_its_order_is_visible_loses_nothing",
    ),
    "8 webhooks: out of order and repeated": shown(
        "the end is what the shop says",
        f"{L}::test_lesson_8_events_out_of_order_and_a_hundred_times_end_as_the_shop_says",
        "api/test_inbound.py::test_a_webhook_told_a_hundred_times_has_one_effect",
    ),
    "8 webhooks: detached JWS signatures": Row(
        "checked over the raw body",
        stored=False,
        not_built="no channel that is built signs so; a new one brings its own check (connectors._channel.Webhook.verify)",
    ),
}
