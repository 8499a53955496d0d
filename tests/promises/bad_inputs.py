"""promises.md §4, row by row (2026-11-22): each bad input, and the tests that show it gets what is written there."""

from __future__ import annotations

from collections.abc import Mapping

from .table import Row, shown

_LABELS = "labels are printed by the warehouse: none are made here, so none are cut"

PAGES = "journeys/test_bad_inputs_pages.py"
ORDERS = "journeys/test_bad_inputs_orders.py::test_one_bad_order_is_one_exception_and_its_page_flows"
POSTS = "api/test_bad_orders.py::test_a_bad_document_is_a_problem_and_an_exception_and_harms_no_neighbour"
BATCH = "promises/test_parsing_rows.py::test_one_document_that_is_no_json_harms_no_neighbour_in_its_batch"
REPLIES = f"{PAGES}::test_a_reply_that_is_no_page_is_a_failure_and_the_cursor_stays"
MESSAGES = "journeys/test_bad_inputs_warehouse.py::test_a_bad_message_is_one_exception_and_the_others_ship"
ANSWERS = "journeys/test_bad_inputs_warehouse.py::test_an_answer_nobody_can_read_is_looked_up_and_never_sent_twice"
READ = "promises/test_transport_rows.py::test_no_more_than_the_cap_and_a_little_is_read_of_what_is_too_large"
XML = "promises/test_parsing_rows.py::test_xml_that_points_elsewhere_is_refused_without_a_look_at_a_file_or_a_packet"
WAREHOUSE = "journeys/test_bad_inputs_warehouse.py"
TRANSPORT = "api/test_transport.py"
HOOKS = "promises/test_webhook_rows.py"
POSTING = "api/test_posting.py"
BAD = "api/test_bad_orders.py"
# Where the cases of the big tables are listed, by name of the constant.
SPOILT, REFUSED, NO_PAGES, XML_CASES = "spoilt", "refused", "no_pages", "messages"

BAD_INPUTS: Mapping[int, Row] = {
    1: shown(
        "PA body of cap + 1 byte: 413, closed, at most cap + 64 KiB read, nothing stored",
        READ,
        f"{TRANSPORT}::test_a_body_of_the_cap_and_one_byte_is_refused_and_closed",
        f"{TRANSPORT}::test_a_declared_giant_is_refused_unread",
    ),
    2: shown(
        "PA Content-Length 10, 4 bytes or none, close: nothing stored, key not consumed",
        "promises/test_transport_rows.py::test_a_body_that_never_comes_leaves_nothing_and_its_key_is_free",
        f"{TRANSPORT}::test_a_body_cut_short_stores_nothing_and_uses_no_key_up",
    ),
    3: shown("PA endless chunks: 413 at the cap", READ, f"{TRANSPORT}::test_an_endless_stream_is_refused_at_the_cap"),
    4: shown(
        "PA Content-Length and Transfer-Encoding: 400 and close",
        f"{TRANSPORT}::test_two_lengths_are_one_too_many",
        stored=False,
    ),
    5: shown(
        "PA gzip bomb: 413 decoded_too_large, 20 MiB, 200 ms",
        "promises/test_transport_rows.py::test_a_gzip_bomb_costs_a_real_process_less_than_20_mib_and_200_ms",
        f"{TRANSPORT}::test_a_gzip_bomb_is_refused_small_and_fast",
        stored=False,
    ),
    6: shown(
        "CH bomb in a page: connector error, cursor still, alert, 20 MiB",
        "promises/test_transport_rows.py::test_a_bomb_in_a_page_costs_a_reader_less_than_20_mib_and_leaves_the_cursor",
        REPLIES,
        "wire/test_client_faults.py::test_a_bomb_costs_little_memory",
        cases=NO_PAGES,
    ),
    7: shown(
        "CH gzip a hundred times: refused",
        REPLIES,
        "wire/test_client_faults.py::test_refuses_other_encodings_and_several",
        f"{TRANSPORT}::test_one_encoding_only",
        cases=NO_PAGES,
    ),
    8: shown(
        "PA a byte a second, 200 connections: closed in 30 s, other callers' p95 at most 1.5 times",
        "promises/test_transport_rows.py::test_two_hundred_drips_are_closed_and_nobody_else_waits_longer",
        f"{TRANSPORT}::test_a_drip_is_closed_and_holds_nobody_up",
        stored=False,
    ),
    9: shown(
        "CH body cut short: failure, cursor still, refetch",
        REPLIES,
        "wire/test_client_faults.py::test_after_sending_a_read_is_repeated_and_a_write_is_looked_up",
        cases=NO_PAGES,
    ),
    10: shown("CH a web page: auth_or_maintenance, cursor still", REPLIES, cases=NO_PAGES),
    11: shown(
        "CH a rate limit inside 200: rate-limit path, not an empty list",
        REPLIES,
        "connectors/test_taobao.py::test_one_rate_limited_detail_is_read_again",
        "connectors/test_shopify.py::test_a_throttled_read_waits_and_goes_on",
    ),
    12: shown(
        "CH 200 or 204 without a body: failure, not no orders",
        REPLIES,
        "contract/test_channels.py::test_an_answer_that_is_no_list_never_means_no_orders",
        cases=NO_PAGES,
    ),
    13: shown(
        "JSON nested 100,000 deep: 400 / EXC(depth)",
        POSTS,
        ORDERS,
        BATCH,
        REPLIES,
        MESSAGES,
        cases=f"{SPOILT} {REFUSED} {NO_PAGES} {XML_CASES}",
    ),
    14: shown("amount NaN, Infinity, 1e999: 400 / EXC(money)", POSTS, ORDERS, BATCH, cases=f"{SPOILT} {REFUSED}"),
    15: shown("a key twice: 400 duplicate_key", POSTS, ORDERS, BATCH, cases=f"{SPOILT} {REFUSED}"),
    16: shown("integer of 5,000 digits: 400", POSTS, ORDERS, BATCH, cases=f"{SPOILT} {REFUSED}"),
    17: shown(
        "order id 3141592653589793238 as a number: exact everywhere",
        "promises/test_parsing_rows.py::test_a_number_above_what_javascript_holds_is_shown_to_the_last_digit",
        f"{BAD}::test_a_number_as_id_is_kept_to_the_last_digit",
        "journeys/test_bad_inputs_orders.py::test_ids_are_kept_to_the_last_digit_blank_and_letter",
        "wire/test_strict_json.py::test_keeps_numbers_exactly",
        rest="orders are not exported as CSV or XLSX",
    ),
    18: shown(
        "ids 123 and 000123: two orders",
        f"{BAD}::test_ids_that_look_alike_are_different_orders",
        "journeys/test_bad_inputs_orders.py::test_ids_are_kept_to_the_last_digit_blank_and_letter",
    ),
    19: shown(
        "ids that differ by blank, case, full width: documented policy; full-width money rejected",
        f"{BAD}::test_ids_that_look_alike_are_different_orders",
        "storage/test_inbox.py::test_ids_that_differ_in_anything_are_different_documents",
        POSTS,
        ORDERS,
        cases=f"{SPOILT} {REFUSED}",
    ),
    20: shown(
        "NUL in a note: replaced and flagged on both databases, bytes kept",
        f"{BAD}::test_what_a_database_refuses_is_replaced_and_the_bytes_are_kept",
        "pipeline/test_absorb.py::test_special_characters_end_the_same_on_both_databases",
        ORDERS,
        cases=SPOILT,
    ),
    21: shown(
        "lone surrogate: as 20, never 500",
        f"{BAD}::test_what_a_database_refuses_is_replaced_and_the_bytes_are_kept",
        ORDERS,
        cases=SPOILT,
    ),
    22: shown(
        "BOM, UTF-16, GBK labelled UTF-8: 400 / EXC(encoding), never mojibake",
        "promises/test_parsing_rows.py::test_a_whole_page_in_another_encoding_is_no_order_and_never_mojibake",
        POSTS,
        ORDERS,
        REPLIES,
        MESSAGES,
        ANSWERS,
        cases=f"{SPOILT} {REFUSED} {NO_PAGES} {XML_CASES}",
    ),
    23: shown(
        "emoji, U+202E, zero-width, 300 characters: stored; to a GBK-only WMS EXC(unencodable), never a question mark",
        ORDERS,
        f"{BAD}::test_emoji_and_hostile_text_are_stored_as_text",
        f"{WAREHOUSE}::test_what_a_gbk_printer_cannot_print_is_asked_and_never_a_question_mark",
        "outbound/test_qimen_order.py::test_a_gbk_warehouse_gets_no_question_marks",
        cases=SPOILT,
        rest=_LABELS,
    ),
    24: shown("WM XML with an entity for /etc/passwd: rejected, not opened", XML, MESSAGES, cases=XML_CASES),
    25: shown("WM billion laughs: rejected in 50 ms", XML, MESSAGES, ANSWERS, cases=XML_CASES),
    26: shown("WM external DTD: rejected, 0 packets leave", XML, MESSAGES, ANSWERS, cases=XML_CASES),
    27: shown(
        "Qimen call wrongly signed: flag failure, no change, constant time",
        f"{WAREHOUSE}::test_a_signature_that_does_not_fit_changes_nothing",
        "api/test_inbound.py::test_a_callback_that_is_not_signed_changes_nothing",
        "test_lints.py::test_the_source_obeys",
    ),
    28: shown(
        "WH timestamp 301 s off: 401, 299 s: 2xx",
        f"{HOOKS}::test_a_stamp_may_be_five_minutes_off_and_not_a_second_more",
        "wire/test_signing.py::test_a_stamp_may_differ_by_five_minutes_either_way",
        rest="Shopify signs no time, and Qimen's window is ten minutes by its documents",
    ),
    29: shown(
        "WH one id 100 times and after 3 days: 1 effect, all 2xx",
        f"{HOOKS}::test_one_delivery_a_hundred_times_and_after_three_days_is_one_order",
        "api/test_inbound.py::test_a_webhook_told_a_hundred_times_has_one_effect",
        "journeys/test_lessons.py::test_lesson_8_events_out_of_order_and_a_hundred_times_end_as_the_shop_says",
    ),
    30: shown(
        "WH strange signature headers: 401, never 500",
        f"{HOOKS}::test_a_signature_that_does_not_fit_stores_nothing",
        "api/test_inbound.py::test_a_webhook_with_another_body_or_a_strange_signature_is_refused",
        "wire/test_signing.py::test_a_strange_signature_header_is_refused_without_detail",
        "wire/test_signing.py::test_no_header_ever_breaks_the_check",
    ),
    31: shown(
        "WH body with one more blank under the old signature: 401",
        f"{HOOKS}::test_a_signature_that_does_not_fit_stores_nothing",
        "api/test_inbound.py::test_a_webhook_with_another_body_or_a_strange_signature_is_refused",
    ),
    32: shown(
        "PA key missing, 256 characters, other body, 20 at once, other partner's",
        f"{POSTING}::test_a_key_that_is_none_is_refused",
        f"{POSTING}::test_the_same_key_with_another_body_is_refused",
        f"{POSTING}::test_twenty_at_once_are_one_order",
        f"{POSTING}::test_another_partner_may_use_the_same_key_and_id",
    ),
    33: shown(
        "PA retry after 500 but committed: stored success, no second order",
        "promises/test_partner_rows.py::test_a_retry_after_an_answer_that_was_lost_hears_the_stored_success",
    ),
    34: shown("qty 0, -1, 1e9, 1.5, '1 ': EXC(qty)", POSTS, ORDERS, MESSAGES, cases=f"{SPOILT} {REFUSED} {XML_CASES}"),
    35: shown("price -0.01 or with foreign decimals: EXC(money)", POSTS, ORDERS, cases=f"{SPOILT} {REFUSED}"),
    36: shown(
        "total off by one unit: EXC(money_mismatch), no silent fix",
        f"{BAD}::test_a_total_off_by_one_is_a_verdict_and_no_silent_fix",
        ORDERS,
        cases=SPOILT,
    ),
    37: shown(
        "currency missing, RMB, usd: mapped by table or EXC(currency)",
        POSTS,
        ORDERS,
        f"{BAD}::test_currency_words_of_the_trade_are_read",
        cases=f"{SPOILT} {REFUSED}",
    ),
    38: shown(
        "no lines, 10,000 lines, a line id twice, a SKU on two lines",
        POSTS,
        ORDERS,
        "journeys/test_bad_inputs_orders.py::test_ten_thousand_lines_are_the_cap",
        f"{BAD}::test_ten_thousand_lines_are_within_the_cap",
        f"{BAD}::test_the_same_sku_on_two_lines_stays_two_lines",
        cases=f"{SPOILT} {REFUSED}",
    ),
    39: shown(
        "unknown SKU, SKU with two meanings: EXC(sku), not dropped, not guessed",
        ORDERS,
        f"{BAD}::test_a_sku_with_two_meanings_is_not_guessed",
        "api/test_supply.py::test_a_new_listing_frees_the_orders_that_waited_for_it",
        cases=SPOILT,
    ),
    40: shown(
        "order id empty, blank, null: 400 / EXC, no row with an empty key",
        POSTS,
        ORDERS,
        "journeys/test_bad_inputs_orders.py::test_a_list_row_that_names_no_trade_is_not_dropped",
        "storage/test_inbox.py::test_a_document_without_an_id_is_never_stored",
        cases=f"{SPOILT} {REFUSED}",
    ),
    41: shown(
        "updated_at missing, zero, milliseconds, 2099: EXC(time), watermark at most now + 5 min",
        POSTS,
        ORDERS,
        f"{PAGES}::test_a_time_nobody_can_have_does_not_carry_the_cursor_away",
        "pipeline/test_pull.py::test_the_watermark_is_never_beyond_now_and_five_minutes",
        cases=f"{SPOILT} {REFUSED}",
    ),
    42: shown(
        "local time in a DST gap or overlap, or without a zone: no skip, no double",
        f"{PAGES}::test_a_local_time_is_one_instant_in_the_declared_zone",
        f"{PAGES}::test_the_hubs_own_zone_changes_nothing_when_its_clocks_go_back",
        stored=False,
    ),
    43: shown(
        "25 orders of one timestamp over page size 10: all 25",
        f"{PAGES}::test_twenty_five_orders_of_one_second_over_pages_of_ten",
    ),
    44: shown(
        "visible 10 min or 12 h late: by look-back, by sweep", f"{PAGES}::test_what_becomes_visible_late_is_found"
    ),
    45: shown(
        "a page that comes again: stop after 3, alert, cursor still",
        f"{PAGES}::test_a_page_that_comes_again_and_again_stops_the_reading",
    ),
    46: shown(
        "has_more and an empty page; a count that is not the rows: once / EXC(count_mismatch), cursor still",
        f"{PAGES}::test_one_empty_page_that_promises_more_is_believed_two_are_not",
        f"{PAGES}::test_fewer_rows_than_the_source_counts_do_not_move_the_cursor",
    ),
    47: shown(
        "offset paging while orders come and go: none missed",
        f"{PAGES}::test_orders_that_come_and_change_while_pages_are_read_are_not_missed",
        "wire/test_paging.py::test_offset_paging_reads_again_until_nothing_moves",
    ),
    48: shown(
        "two versions on one page, or on two: newest wins, both recorded",
        f"{PAGES}::test_two_versions_of_an_order_newest_wins_whatever_came_first",
        "connectors/test_taobao.py::test_two_versions_of_a_trade_on_two_pages_do_not_stop_the_reading",
    ),
    49: shown(
        "an older version after a newer: ignored, recorded",
        f"{PAGES}::test_two_versions_of_an_order_newest_wins_whatever_came_first",
        f"{POSTING}::test_a_newer_version_updates_and_an_older_one_is_only_recorded",
    ),
    50: shown(
        "cancel before create: tombstone, the create is not pushed",
        f"{PAGES}::test_a_cancel_before_its_order_leaves_nothing_to_push",
        "api/test_cancelling.py::test_a_cancel_before_its_order_leaves_a_tombstone",
    ),
    51: shown(
        "cancel during the push, after shipment: P11",
        f"{WAREHOUSE}::test_a_cancel_during_a_push_is_asked_at_the_warehouse",
        f"{WAREHOUSE}::test_a_cancel_after_shipment_is_told_to_a_person",
        "pipeline/test_dispatch.py::test_no_push_starts_after_a_cancel_was_committed",
    ),
    52: shown(
        "WM tracking of nobody, of two, again, empty: EXC(tracking), returned once",
        f"{WAREHOUSE}::test_tracking_that_cannot_be_is_an_exception_and_told_at_most_once",
        MESSAGES,
        cases=XML_CASES,
    ),
    53: shown(
        "WM more than ordered, a cancelled order, a subset: EXC(over_ship) / EXC(ship_after_cancel) / partial",
        f"{WAREHOUSE}::test_goods_that_were_not_ordered_are_an_exception_and_a_part_is_a_part",
        f"{WAREHOUSE}::test_a_cancel_during_a_push_is_asked_at_the_warehouse",
    ),
    54: shown(
        "RU ^(a+)+$: at most 10 ms",
        "rules/test_conditions.py::test_what_a_rule_says_is_compared_and_never_run",
        "rules/test_language.py::test_a_faulty_ruleset_is_refused_with_the_path_and_a_reason",
        stored=False,
        rest="texts are compared, there are no patterns to be slow",
    ),
    55: shown(
        "RU code, templates, 10,000 conditions, self-reference: data, limits, no eval",
        "rules/test_conditions.py::test_what_a_rule_says_is_compared_and_never_run",
        "rules/test_language.py::test_a_hostile_ruleset_is_refused_within_100_ms",
        stored=False,
    ),
    56: shown(
        "EX cells that would be formulas: neutralised, quoted, numbers stay numbers",
        "rules/test_tables.py::test_rules_come_back_from_a_table_as_they_were",
        "rules/test_tables.py::test_values_come_back_from_a_cell",
        "promises/test_partner_rows.py::test_no_cell_of_a_table_of_rules_is_a_formula",
        stored=False,
        rest="tables of rules are the only files that are written: orders are not exported",
    ),
    57: shown(
        "UI import: zip bomb, 1M rows, links, macros, a path for a name: refused by limits before unpacking, name ignored",
        "rules/test_tables.py::test_a_hostile_file_is_refused_within_100_ms",
        "console/test_rules.py::test_a_faulty_table_is_told_by_its_cells_and_nothing_is_stored",
        stored=False,
    ),
    58: shown(
        "OUT addresses that lead inside: refused when saved and when connecting, canary untouched",
        "wire/test_guard.py::test_refuses_the_form_when_it_is_saved",
        "wire/test_guard.py::test_one_bad_answer_of_the_name_server_refuses_the_name",
        "wire/test_client_faults.py::test_a_private_address_is_refused_unless_the_account_says_so",
        "wire/test_client_faults.py::test_connects_to_the_address_that_was_checked_and_asks_no_second_time",
        "wire/test_client_faults.py::test_never_follows_a_redirect_so_credentials_stay_home",
        stored=False,
    ),
    59: shown(
        "CH 308 to another host: not followed, the credential never reaches it",
        REPLIES,
        "wire/test_client_faults.py::test_never_follows_a_redirect_so_credentials_stay_home",
    ),
    60: shown(
        "hostile names, tracking, notes, SQL, templates: text; header refused; log line escaped; nothing runs",
        "promises/test_partner_rows.py::test_what_a_partner_writes_makes_no_line_of_a_log",
        f"{WAREHOUSE}::test_tracking_that_cannot_be_is_an_exception_and_told_at_most_once",
        "console/test_pages.py::test_what_a_buyer_types_is_text_on_every_page",
        "e2e/test_console.py::test_what_a_buyer_typed_never_runs",
        "wire/test_client.py::test_refuses_headers_that_are_not_one_header",
        ORDERS,
        cases=SPOILT,
    ),
}
