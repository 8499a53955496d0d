"""promises.md §3, fault by fault (2026-11-22), for each side that can have it: what is seen, and the tests that show it."""

from __future__ import annotations

from collections.abc import Mapping

from .bad_inputs import ANSWERS, PAGES, REPLIES
from .table import Row, not_built, shown

DISPATCH = "pipeline/test_dispatch.py"
PULL = "pipeline/test_pull.py"
TROUBLE = "api/test_trouble.py"
MACHINES = "machines/test_many_machines.py"
LESSONS = "journeys/test_lessons.py"
KILLED = f"{MACHINES}::test_a_killed_and_a_frozen_worker_and_a_crashed_database_lose_and_double_nothing"
SWEEP = "journeys/test_crash_sweep.py::test_a_kill_at_any_write_loses_nothing_and_does_nothing_twice"
LOOKED_AT = f"{DISPATCH}::test_a_findable_warehouse_is_looked_at_and_not_told_again"
AFTER_SENDING = "wire/test_client_faults.py::test_after_sending_a_read_is_repeated_and_a_write_is_looked_up"
DRIP = "promises/test_transport_rows.py::test_two_hundred_drips_are_closed_and_nobody_else_waits_longer"
SAME_BYTES = "api/test_posting.py::test_the_same_key_and_body_get_the_same_bytes"

# Sides: channel, warehouse, partner, and "own" for database, disk, clock and process.
FAULTS: Mapping[tuple[str, str], Row] = {
    ("5xx, 429", "channel"): shown(
        "degraded, cursor still, retry as the peer says",
        f"{PULL}::test_a_failing_page_is_asked_for_again_from_where_the_rows_are",
        "wire/test_client.py::test_a_rate_limit_also_holds_the_budget",
        "wire/test_client.py::test_honours_retry_after_within_a_day",
    ),
    ("5xx, 429", "warehouse"): shown(
        "orders wait to be pushed, by the schedule and not earlier than told",
        f"{DISPATCH}::test_tries_again_by_the_schedule_and_parks_when_it_is_exhausted",
        f"{DISPATCH}::test_a_peer_that_names_a_time_is_not_asked_earlier",
        "api/test_reading.py::test_figures_name_routes_states_and_queues",
    ),
    ("time-out after the peer committed", "channel"): shown(
        "look before repeating",
        "pipeline/test_confirm.py::test_an_unknown_confirmation_is_looked_up_and_not_repeated",
        "connectors/test_taobao.py::test_a_lost_answer_is_unknown_and_then_found",
        "connectors/test_shopify.py::test_a_lost_answer_is_unknown_and_then_found",
    ),
    ("time-out after the peer committed", "warehouse"): shown(
        "look before repeating", LOOKED_AT, f"{DISPATCH}::test_an_unsafe_warehouse_is_never_told_again_by_itself"
    ),
    ("time-out after the peer committed", "partner"): shown(
        "the same key replays",
        SAME_BYTES,
        "promises/test_partner_rows.py::test_a_retry_after_an_answer_that_was_lost_hears_the_stored_success",
    ),
    ("reply lost, reset, truncated", "channel"): shown("page read again, cursor still", REPLIES, AFTER_SENDING),
    ("reply lost, reset, truncated", "warehouse"): shown("look before repeating", ANSWERS, LOOKED_AT),
    ("reply lost, reset, truncated", "partner"): shown("the same key replays", SAME_BYTES),
    ("200 with an error, a page, nothing", "channel"): shown(
        "typed error, never no orders",
        REPLIES,
        "contract/test_channels.py::test_an_answer_that_is_no_list_never_means_no_orders",
    ),
    ("200 with an error, a page, nothing", "warehouse"): shown(
        "typed error", ANSWERS, "contract/test_warehouses.py::test_an_unreadable_answer_to_a_send_may_have_happened"
    ),
    ("duplicate delivery", "channel"): shown(
        "dropped by id and version",
        "storage/test_inbox.py::test_identical_to_the_latest_is_dropped_and_an_older_one_that_comes_back_is_new",
        "storage/test_inbox.py::test_two_identical_deliveries_at_the_same_instant_make_one_row",
    ),
    ("duplicate delivery", "warehouse"): shown(
        "dropped by event id",
        "api/test_inbound.py::test_a_callback_ships_the_order_once",
        "pipeline/test_news.py::test_the_same_message_again_changes_nothing",
    ),
    ("duplicate delivery", "partner"): shown("replayed", SAME_BYTES),
    ("reordered, repeated page token", "channel"): shown(
        "newest version wins; three repeats stop the reading with an alert",
        f"{PAGES}::test_two_versions_of_an_order_newest_wins_whatever_came_first",
        f"{PAGES}::test_a_page_that_comes_again_and_again_stops_the_reading",
        f"{PULL}::test_a_token_that_fails_three_times_is_given_up_and_the_window_read_anew",
    ),
    ("reordered, repeated page token", "warehouse"): shown(
        "news count whatever their order",
        "pipeline/test_news.py::test_the_second_message_may_come_first",
        "pipeline/test_news.py::test_news_before_the_answer_to_the_push_proves_that_it_arrived",
    ),
    ("hang", "channel"): shown(
        "holds only its own slots",
        "wire/test_client_faults.py::test_a_hanging_host_holds_only_its_own_slots",
        stored=False,
    ),
    ("hang", "warehouse"): shown(
        "holds only its own slots",
        "wire/test_client_faults.py::test_a_hanging_host_holds_only_its_own_slots",
        "wire/test_client_faults.py::test_the_breaker_opens_after_five_failures_and_probes_once",
        stored=False,
    ),
    ("hang", "partner"): shown("408 within 30 s", DRIP, stored=False),
    ("slow drip", "channel"): shown(
        "ends with the total time",
        "wire/test_client_faults.py::test_a_slow_drip_ends_with_the_total_time",
        stored=False,
    ),
    ("slow drip", "warehouse"): shown(
        "ends with the total time",
        "wire/test_client_faults.py::test_a_slow_drip_ends_with_the_total_time",
        stored=False,
    ),
    ("slow drip", "partner"): shown("closed within 30 s", DRIP, stored=False),
    ("clock skew at the peer", "channel"): shown(
        "look-back by the source's time; no time of the future carries the cursor away",
        f"{PULL}::test_the_next_poll_looks_back_over_the_watermark",
        f"{PAGES}::test_a_time_nobody_can_have_does_not_carry_the_cursor_away",
    ),
    ("clock skew at the peer", "partner"): shown(
        "300 s either way", "promises/test_webhook_rows.py::test_a_stamp_may_be_five_minutes_off_and_not_a_second_more"
    ),
    ("clock skew at the peer", "own"): shown(
        "leases by the database's time, ids never go back",
        "pipeline/test_machines.py::test_all_machines_go_by_the_databases_clock",
        "pipeline/test_machines.py::test_a_clock_set_back_by_hours_stops_no_ids",
        "domain/test_numbers.py::test_ids_only_grow_whatever_the_clock_does",
        stored=False,
    ),
    ("credentials revoked", "channel"): shown(
        "the account stops, one alert",
        f"{PULL}::test_expired_credentials_stop_the_account_and_tell_a_person_once",
        "connectors/test_top.py::test_a_lost_session_stops_the_account",
    ),
    ("credentials revoked", "warehouse"): shown(
        "the warehouse stops, one alert",
        f"{DISPATCH}::test_a_stopped_warehouse_is_left_alone_until_it_is_applied_again",
        f"{DISPATCH}::test_a_stopped_warehouse_is_one_exception_however_many_pushes_fail",
    ),
    ("credentials revoked", "partner"): shown(
        "401, no oracle",
        "api/test_walls.py::test_a_revoked_key_stops_working",
        "api/test_walls.py::test_a_key_that_is_none_gets_the_same_answer",
    ),
    ("schema drift", "channel"): shown(
        "unknown fields stay in the document; what is missing is an exception",
        "contract/test_channels.py::test_a_document_without_a_field_is_an_exception_not_a_crash",
        "contract/test_channels.py::test_an_unknown_status_is_taken_and_never_ships",
        "normalizer/test_samples.py::test_the_coverage_report_names_what_a_mapping_never_read",
        stored=False,
        rest="there is no alarm on the share of exceptions: each is listed, and counted by code in /metrics",
    ),
    ("schema drift", "warehouse"): shown(
        "a word nobody knows is stored and moves nothing",
        "pipeline/test_news.py::test_an_unknown_word_is_stored_and_moves_nothing",
        "pipeline/test_news.py::test_a_message_nobody_can_read_is_one_exception",
    ),
    ("schema drift", "partner"): shown(
        "422 with the field",
        "api/test_bad_orders.py::test_a_bad_document_is_a_problem_and_an_exception_and_harms_no_neighbour",
    ),
    ("network partition", "channel"): shown(
        "as a hang; found when it heals",
        "wire/test_client_faults.py::test_not_connecting_is_always_again_later",
        f"{MACHINES}::test_a_host_without_network_is_replaced_and_comes_back",
        stored=False,
    ),
    ("network partition", "warehouse"): shown(
        "as a hang", f"{MACHINES}::test_a_host_without_network_is_replaced_and_comes_back", stored=False
    ),
    ("network partition", "own"): shown(
        "503, nothing acknowledged", f"{TROUBLE}::test_a_database_that_is_gone_is_a_503_and_comes_back"
    ),
    ("disk full", "partner"): shown(
        "507, nothing acknowledged",
        f"{TROUBLE}::test_a_full_disk_is_a_507_and_nothing_is_acknowledged",
        f"{TROUBLE}::test_postgres_names_a_full_disk",
        stored=False,
    ),
    ("disk full", "channel"): shown(
        "what could not be stored does not move the cursor",
        f"{PULL}::test_a_page_whose_rows_could_not_be_stored_does_not_move_the_cursor",
    ),
    ("disk full", "warehouse"): shown(
        "pushes pause and go on",
        "promises/test_fault_rows.py::test_while_the_disk_is_full_nothing_is_read_or_pushed_and_then_everything_is",
        stored=False,
        rest="EIO of a device is not simulated",
    ),
    ("database fails over", "own"): shown(
        "everything that was acknowledged is there",
        f"{MACHINES}::test_a_standby_takes_over_with_everything_that_was_acknowledged",
        stored=False,
    ),
    ("database fails over", "partner"): shown(
        "503 with Retry-After", f"{TROUBLE}::test_a_database_that_is_gone_is_a_503_and_comes_back"
    ),
    ("database fails over", "channel"): shown(
        "reading goes on where the cursor was",
        f"{MACHINES}::test_a_standby_takes_over_with_everything_that_was_acknowledged",
        KILLED,
        stored=False,
    ),
    ("database fails over", "warehouse"): shown(
        "what was claimed is looked at before it is sent again",
        f"{MACHINES}::test_a_standby_takes_over_with_everything_that_was_acknowledged",
        KILLED,
        stored=False,
    ),
    ("worker killed or frozen", "channel"): shown(
        "another reads on; the frozen one writes nothing",
        SWEEP,
        "journeys/test_crash_lease.py::test_a_dead_readers_stream_is_free_after_a_minute",
        f"{PULL}::test_a_reader_that_was_overtaken_writes_nothing",
    ),
    ("worker killed or frozen", "warehouse"): shown(
        "another looks before sending; the frozen one sends nothing",
        KILLED,
        SWEEP,
        f"{DISPATCH}::test_a_frozen_sender_sends_nothing_when_it_wakes",
    ),
    ("worker killed or frozen", "partner"): shown(
        "nothing was answered that is not stored",
        "api/test_posting.py::test_nothing_is_answered_before_the_commit",
        "machines/test_rolling_restart.py::test_partners_lose_nothing_while_every_api_process_is_restarted",
    ),
    ("worker killed or frozen", "own"): shown(
        "a dead worker's job is another's",
        KILLED,
        SWEEP,
        "storage/test_queue.py::test_a_dead_workers_job_is_anothers_and_its_late_words_count_for_nothing",
    ),
    ("hub down for 6 h", "channel"): shown(
        "catches up although it was away longer than the look-back",
        "promises/test_fault_rows.py::test_after_six_hours_away_nothing_is_missing_and_no_host_is_flooded",
    ),
    ("hub down for 6 h", "warehouse"): shown(
        "no burst above the limit",
        "promises/test_fault_rows.py::test_after_six_hours_away_nothing_is_missing_and_no_host_is_flooded",
        "wire/test_budget_and_retry.py::test_spends_what_is_there_then_waits_for_the_refill",
    ),
    ("hub down for 6 h", "partner"): shown(
        "a retry under the same key succeeds",
        "api/test_posting.py::test_a_replay_survives_what_happened_to_the_order_since",
    ),
    ("hub down for 6 h", "own"): not_built(
        "10,000 waiting orders in 10 min",
        "measured by hub.py bench, which is not a test: figures stand in the scale page",
    ),
}
