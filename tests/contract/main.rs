//! What the ports promise in their documentation, held against every set of adapters.
//!
//! A case is an async function over a [`Fixture`]; [`contract_suite!`] lists them all and runs them on one set of
//! adapters. A case has the queues to itself and finds them empty; tables and buckets may be shared, so rows, lanes
//! and registers carry names of their own (see [`support::unique`]).

#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

/// Runs every case on one set of adapters: `contract_suite!(module, path::to::fixture().await)`.
macro_rules! contract_suite {
    ($adapters:ident, $fixture:expr) => {
        contract_suite! { $adapters, $fixture,
            queue:
                a_message_comes_as_it_was_sent,
                empty_attributes_are_left_out,
                a_batch_of_any_size_is_sent_received_and_deleted,
                large_bodies_are_carried,
                an_item_that_cannot_be_sent_does_not_abandon_the_rest,
                nothing_to_do_is_done,
                no_more_than_asked_for_is_received,
                a_receive_waits_for_the_first_message,
                a_receive_gives_up_after_the_wait,
                a_received_message_is_invisible_to_others,
                a_message_that_is_not_deleted_comes_again,
                a_deleted_message_does_not_come_again,
                what_is_gone_already_counts_as_deleted,
                an_outdated_receipt_changes_nothing,
                an_extension_keeps_a_message_invisible,
                extending_by_zero_hands_back_at_once,
                poison_ends_in_the_dead_letter_queue,
                depth_tells_visible_from_in_flight;
            ledger:
                a_row_reads_back_whole,
                there_is_no_row_before_it_is_inserted,
                insert_is_idempotent_by_id,
                a_batch_of_inserts_answers_each,
                of_concurrent_inserts_one_is_new;
            transitions:
                a_transition_changes_what_it_says,
                a_request_can_be_replaced,
                what_changed_since_it_was_read_is_refused,
                what_a_patch_leaves_out_stays,
                notes_are_appended_in_order,
                an_unknown_row_is_refused,
                every_guard_refuses_and_changes_nothing,
                matching_guards_let_pass,
                any_of_several_statuses_will_do,
                a_batch_of_transitions_answers_each,
                of_concurrent_claims_one_wins,
                a_final_row_stays_as_it_is,
                a_failed_row_is_revived_once;
            work_lists:
                an_item_shows_what_the_planner_needs,
                a_row_stands_in_exactly_one_list,
                a_final_row_leaves_every_list,
                a_list_is_in_bytewise_order,
                up_to_includes_its_key_and_nothing_after,
                the_limit_keeps_the_first,
                more_than_a_thousand_items_are_listed,
                flows_have_lists_of_their_own,
                flows_are_known_by_when_a_row_last_entered,
                pages_go_on_where_the_last_one_ended,
                rows_with_equal_keys_are_all_listed,
                counts_show_what_is_open,
                ready_rows_are_counted_by_priority;
            payloads:
                bytes_come_back_as_they_went,
                ten_megabytes_come_back_as_they_went,
                payloads_are_kept_apart,
                storing_again_is_harmless,
                what_is_gone_is_none,
                odd_ids_are_safe,
                many_are_stored_at_once,
                a_location_names_the_object,
                foreign_objects_are_read,
                foreign_objects_beyond_the_limit_are_not_read,
                missing_foreign_objects_are_told_from_faults;
            registers:
                versions_count_the_writes,
                a_write_against_another_version_changes_nothing,
                a_removed_register_starts_over,
                of_concurrent_writers_one_wins,
                a_list_has_the_prefix_and_is_in_order,
                values_come_back_as_they_went;
            reports:
                a_row_comes_back_whole,
                a_repeat_overwrites_itself,
                a_repeat_within_one_call_overwrites_itself,
                a_day_is_paged_in_order,
                a_slice_ends_before_its_bounds,
                days_are_kept_apart,
                a_batch_answers_each;
            report:
                what_was_put_is_summed_up_and_nothing_else,
                where_nothing_is_nothing_is_reported;
            exports:
                a_file_appears_when_it_is_finished,
                a_file_replaces_another_and_its_tag_changes,
                large_files_come_back_as_they_went,
                what_is_thrown_away_was_never_there,
                a_folder_lists_its_own_files_only,
                writers_of_one_file_do_not_mix;
            outlets:
                alerts_of_every_severity_are_taken,
                metrics_of_any_number_are_taken;
        }
    };
    ($adapters:ident, $fixture:expr, $($port:ident: $($case:ident),+;)+) => {
        mod $adapters {
            $(mod $port {
                $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $case() {
                    let fixture: $crate::Fixture = $fixture;
                    $crate::$port::$case(&fixture).await;
                })+
            })+
        }
    };
}

mod aws;
mod exports;
#[path = "../support/finished.rs"]
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "made-up figures")]
mod finished;
mod ledger;
mod outlets;
mod payloads;
mod queue;
mod registers;
mod report;
mod reports;
mod support;
mod transitions;
mod work_lists;

use std::any::Any;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use smoother::clock::{Clock, Timestamp};
use smoother::export::ExportTarget;
use smoother::local;
use smoother::ports::Ports;

/// How long hold messages of a fixture stay invisible: short, because cases wait for it in real time.
const HOLD_VISIBILITY: Duration = Duration::from_secs(2);

/// What a case runs on. The other queues' visibility timeouts are 60 s; hold messages redrive after 3 receives.
struct Fixture {
    ports: Ports,
    /// Where exports go.
    exports: Box<dyn ExportTarget>,
    /// Puts an object of this key where producers would; answers with its bucket.
    plant: Box<dyn Fn(String, Bytes) -> BoxFuture<'static, String> + Send + Sync>,
    /// Whatever must live as long as the ports.
    _keep: Box<dyn Any + Send + Sync>,
}

async fn local_fixture() -> Fixture {
    let directory = tempfile::tempdir().unwrap();
    let settings = local::Settings { hold_visibility: HOLD_VISIBILITY, ..local::Settings::default() };
    let local = local::open(directory.path(), settings, Clock::system()).await.unwrap();
    let bucket = local.dir.join("buckets/producers");
    let plant = move |key: String, bytes: Bytes| -> BoxFuture<'static, String> {
        let path = bucket.join(key);
        Box::pin(async move {
            tokio::fs::create_dir_all(path.parent().unwrap()).await.unwrap();
            tokio::fs::write(path, bytes).await.unwrap();
            "producers".to_owned()
        })
    };
    let exports = local::ExportDir::open(directory.path().join("analytics/exports"), Timestamp(0)).await.unwrap();
    Fixture { ports: local.ports, exports: Box::new(exports), plant: Box::new(plant), _keep: Box::new(directory) }
}

contract_suite!(on_local, crate::local_fixture().await);
contract_suite!(on_aws, crate::aws::fixture().await);
