use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;
use proptest::prelude::*;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::clock::Timestamp;
use crate::local::ExportDir;
use crate::ports::reports::{Cell, Slice};
use crate::ports::{PortResult, Reports};
use crate::request::RequestId;

/// A table in memory, by day and key.
#[derive(Default)]
struct Table(Mutex<BTreeMap<(String, String), ReportRow>>);

impl Table {
    fn with(rows: impl IntoIterator<Item = ReportRow>) -> Self {
        let table = Self::default();
        rows.into_iter().for_each(|row| table.add(row));
        table
    }

    fn add(&self, row: ReportRow) {
        self.0.lock().unwrap().insert((row.day.clone(), row.finished_key.clone()), row);
    }

    /// As time to live does.
    fn expire(&self, id: &str) {
        self.0.lock().unwrap().retain(|_, row| row.request_id.as_str() != id);
    }
}

#[async_trait]
impl Reports for Table {
    async fn put(&self, _: Vec<ReportRow>) -> Vec<PortResult<()>> {
        vec![]
    }

    async fn page(&self, slice: Slice<'_>, limit: usize) -> PortResult<Vec<ReportRow>> {
        let rows = self.0.lock().unwrap();
        let fits =
            |key: &str| slice.after.is_none_or(|after| key > after) && slice.before.is_none_or(|before| key < before);
        Ok(rows
            .iter()
            .filter(|((day, key), _)| day == slice.day && fits(key))
            .map(|(_, row)| row.clone())
            .take(limit)
            .collect())
    }
}

fn at(text: &str) -> Timestamp {
    Timestamp::parse(text).unwrap()
}

fn row(finished_at: &str, id: &str) -> ReportRow {
    let finished_at = at(finished_at);
    ReportRow {
        day: finished_at.day(),
        finished_key: format!("{finished_at}#{id}"),
        request_id: RequestId::new(id).unwrap(),
        finished_at,
        ..ReportRow::example()
    }
}

/// Everything from 20 November to the end of the hour 09 of the 21st.
fn range() -> Range {
    let until = Hour::of(at("2026-11-21T10:00:00Z"));
    Range { since: None, until, again: Duration::from_hours(24), earliest: Hour::of(at("2026-11-15T00:00:00Z")) }
}

async fn export(table: &dyn Reports, dir: &Path, format: Format, range: Range) -> PortResult<Summary> {
    let target = ExportDir::open(dir.to_owned(), at("2026-11-21T09:30:00Z")).await?;
    let (stop, progress) = (CancellationToken::new(), |_: Progress| {});
    Export { reports: table, target: &target, format, progress: &progress, stop: &stop }.run(range).await
}

async fn jsonl(table: &Table, dir: &Path, range: Range) -> Summary {
    export(table, dir, Format::Jsonl, range).await.unwrap()
}

fn counts(summary: &Summary) -> [u64; 4] {
    [summary.written, summary.unchanged, summary.kept, summary.rows]
}

/// Ids by file, in the files' order.
fn ids(dir: &Path) -> BTreeMap<String, Vec<String>> {
    let mut found = BTreeMap::new();
    for folder in fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()) {
        let day = folder.file_name().unwrap().to_str().unwrap().to_owned();
        for file in
            fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).filter(|_| day.starts_with("day="))
        {
            let text = fs::read_to_string(&file).unwrap();
            let lines = text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
            let ids = lines.map(|line| line["request_id"].as_str().unwrap().to_owned()).collect();
            found.insert(format!("{day}/{}", file.file_name().unwrap().to_str().unwrap()), ids);
        }
    }
    found
}

fn files(expected: &[(&str, &[&str])]) -> BTreeMap<String, Vec<String>> {
    let ids = |ids: &[&str]| ids.iter().map(|&id| id.to_owned()).collect();
    expected.iter().map(|(file, of)| ((*file).to_owned(), ids(of))).collect()
}

#[tokio::test]
async fn an_hour_is_a_file_and_a_repeat_writes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let table = Table::with([
        row("2026-11-20T23:59:59.999Z", "a"),
        row("2026-11-21T00:00:00Z", "b"),
        row("2026-11-21T09:00:00Z", "c"),
        row("2026-11-21T09:59:59.999Z", "d"),
        row("2026-11-21T10:00:00Z", "not-yet"),
    ]);
    assert_eq!(counts(&jsonl(&table, dir.path(), range()).await), [3, 0, 0, 4]);
    let expected = files(&[
        ("day=2026-11-20/part-23.jsonl", &["a"]),
        ("day=2026-11-21/part-00.jsonl", &["b"]),
        ("day=2026-11-21/part-09.jsonl", &["c", "d"]),
    ]);
    assert_eq!(ids(dir.path()), expected);
    assert_eq!(counts(&jsonl(&table, dir.path(), range()).await), [0, 3, 0, 0]);
    assert_eq!(ids(dir.path()), expected);
}

#[tokio::test]
async fn late_rows_are_taken_up_within_the_look_back() {
    let dir = tempfile::tempdir().unwrap();
    let table = Table::with([row("2026-11-20T08:00:00Z", "old"), row("2026-11-21T08:00:00Z", "new")]);
    jsonl(&table, dir.path(), range()).await;
    table.add(row("2026-11-20T08:10:00Z", "too-late"));
    table.add(row("2026-11-20T11:00:00Z", "late"));
    table.add(row("2026-11-21T08:10:00Z", "late-too"));
    let again = jsonl(&table, dir.path(), range()).await;
    assert_eq!((counts(&again), again.since), ([2, 0, 0, 3], Some(at("2026-11-20T10:00:00Z"))));
    // Only who asks for older hours gets them done again.
    let since = Some(Hour::of(at("2026-11-20T00:00:00Z")));
    assert_eq!(counts(&jsonl(&table, dir.path(), Range { since, ..range() }).await), [1, 2, 0, 2]);
    assert_eq!(
        ids(dir.path()),
        files(&[
            ("day=2026-11-20/part-08.jsonl", &["old", "too-late"]),
            ("day=2026-11-20/part-11.jsonl", &["late"]),
            ("day=2026-11-21/part-08.jsonl", &["new", "late-too"]),
        ])
    );
}

#[tokio::test]
async fn a_row_that_was_written_again_replaces_its_file() {
    let dir = tempfile::tempdir().unwrap();
    let table = Table::with([row("2026-11-21T08:00:00Z", "a")]);
    jsonl(&table, dir.path(), range()).await;
    table.add(ReportRow { cost_usd: Some(7.0), ..row("2026-11-21T08:00:00Z", "a") });
    assert_eq!(counts(&jsonl(&table, dir.path(), range()).await), [1, 0, 0, 1]);
    assert!(fs::read_to_string(dir.path().join("day=2026-11-21/part-08.jsonl")).unwrap().contains("\"cost_usd\":7.0"));
}

#[tokio::test]
async fn rows_whose_time_is_over_stay_exported() {
    let dir = tempfile::tempdir().unwrap();
    let table = Table::with(["a", "b"].map(|id| row("2026-11-21T08:00:00Z", id)));
    jsonl(&table, dir.path(), range()).await;
    let since = Some(Hour::of(at("2026-11-21T00:00:00Z")));
    let again = Range { since, ..range() };
    table.expire("a");
    assert_eq!(counts(&jsonl(&table, dir.path(), again).await), [0, 0, 1, 0]);
    table.expire("b");
    assert_eq!(counts(&jsonl(&table, dir.path(), again).await), [0, 0, 0, 0]);
    let file = "day=2026-11-21/part-08.jsonl";
    assert_eq!(ids(dir.path()), files(&[(file, &["a", "b"])]));
    // Whoever wants it otherwise removes the file.
    table.add(row("2026-11-21T08:00:00Z", "b"));
    fs::remove_file(dir.path().join(file)).unwrap();
    assert_eq!(counts(&jsonl(&table, dir.path(), again).await), [1, 0, 0, 1]);
}

#[tokio::test]
async fn it_goes_on_where_it_ended_and_leaves_no_gap() {
    let dir = tempfile::tempdir().unwrap();
    let table = Table::with([row("2026-11-18T08:00:00Z", "a"), row("2026-11-21T08:00:00Z", "b")]);
    // Only the last day was asked for, so that nothing is known of those before.
    let since = Some(Hour::of(at("2026-11-21T00:00:00Z")));
    assert_eq!(jsonl(&table, dir.path(), Range { since, ..range() }).await.written, 1);
    assert_eq!(counts(&jsonl(&table, dir.path(), range()).await), [1, 1, 0, 1]);
    let none = jsonl(&table, dir.path(), range()).await;
    assert_eq!((none.since, none.unchanged), (Some(at("2026-11-20T10:00:00Z")), 1));
}

#[tokio::test]
async fn without_its_notes_the_same_files_come_about() {
    let dir = tempfile::tempdir().unwrap();
    let table = Table::with([row("2026-11-20T08:00:00Z", "a"), row("2026-11-21T08:00:00Z", "b")]);
    jsonl(&table, dir.path(), range()).await;
    let before = ids(dir.path());
    fs::remove_file(dir.path().join("_smoother/2026-11-21.json")).unwrap();
    assert_eq!(counts(&jsonl(&table, dir.path(), range()).await), [1, 0, 0, 1]);
    fs::remove_dir_all(dir.path().join("_smoother")).unwrap();
    assert_eq!(counts(&jsonl(&table, dir.path(), range()).await), [2, 0, 0, 2]);
    assert_eq!(ids(dir.path()), before);
}

#[tokio::test]
async fn a_file_that_somebody_else_wrote_is_written_again() {
    let dir = tempfile::tempdir().unwrap();
    let table = Table::with([row("2026-11-21T08:00:00Z", "a")]);
    jsonl(&table, dir.path(), range()).await;
    let file = dir.path().join("day=2026-11-21/part-08.jsonl");
    let before = fs::read(&file).unwrap();
    fs::write(&file, "something else").unwrap();
    assert_eq!(counts(&jsonl(&table, dir.path(), range()).await), [1, 0, 0, 1]);
    assert_eq!(fs::read(&file).unwrap(), before);
}

#[tokio::test]
async fn formats_are_not_mixed_and_newer_notes_are_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let table = Table::with([row("2026-11-21T08:00:00Z", "a")]);
    jsonl(&table, dir.path(), range()).await;
    let error = export(&table, dir.path(), Format::Csv, range()).await.unwrap_err().to_string();
    assert!(error.contains("it has jsonl files") && error.contains("--format jsonl"), "{error}");
    fs::write(dir.path().join("_smoother/export.json"), r#"{"version":2,"format":"jsonl","done_until":null}"#).unwrap();
    let error = export(&table, dir.path(), Format::Jsonl, range()).await.unwrap_err().to_string();
    assert!(error.contains("newer smoother"), "{error}");
    fs::write(dir.path().join("_smoother/export.json"), "{").unwrap();
    let error = export(&table, dir.path(), Format::Jsonl, range()).await.unwrap_err().to_string();
    assert!(error.contains("Remove the file"), "{error}");
}

#[tokio::test]
async fn told_to_end_it_leaves_whole_files_only() {
    let dir = tempfile::tempdir().unwrap();
    let many = (0..2_500)
        .map(|n| row(if n < 500 { "2026-11-21T07:00:00Z" } else { "2026-11-21T08:00:00Z" }, &format!("{n:04}")));
    let table = Table::with(many);
    let target = ExportDir::open(dir.path().to_owned(), Timestamp(0)).await.unwrap();
    let stop = CancellationToken::new();
    let progress = |_: Progress| stop.cancel();
    let export = Export { reports: &table, target: &target, format: Format::Jsonl, progress: &progress, stop: &stop };
    let summary = export.run(range()).await.unwrap();
    assert_eq!((summary.interrupted, counts(&summary)), (true, [1, 0, 0, 500]));
    assert_eq!(ids(dir.path()).keys().collect::<Vec<_>>(), ["day=2026-11-21/part-07.jsonl"]);
    assert_eq!(fs::read_dir(dir.path().join("_smoother/tmp")).unwrap().count(), 0);
    assert_eq!(counts(&jsonl(&table, dir.path(), range()).await), [1, 1, 0, 2_000]);
}

#[tokio::test]
async fn pages_and_chunks_lose_nothing() {
    let table = Table::with((0..3_000).map(|n| row("2026-11-21T08:00:00Z", &format!("{n:04}-{}", "x".repeat(100)))));
    for format in [Format::Parquet, Format::Jsonl, Format::Csv] {
        let dir = tempfile::tempdir().unwrap();
        let summary = export(&table, dir.path(), format, range()).await.unwrap();
        assert_eq!(counts(&summary), [1, 0, 0, 3_000], "{format}");
        let file = dir.path().join(format!("day=2026-11-21/part-08.{format}"));
        assert_eq!(fs::metadata(&file).unwrap().len(), summary.bytes, "{format}");
        let again = export(&table, dir.path(), format, range()).await.unwrap();
        assert_eq!(counts(&again), [0, 1, 0, 0], "{format}");
    }
}

fn encode(format: Format, rows: &[ReportRow]) -> Vec<u8> {
    let mut encoder = encode::Encoder::new(format).unwrap();
    rows.iter().for_each(|row| encoder.add(row).unwrap());
    encoder.finish().unwrap()
}

/// What Parquet's own reader finds in a file, as rows; `day` is the folder's.
fn read_parquet(file: Vec<u8>, day: &str) -> Vec<ReportRow> {
    use parquet::file::reader::{FileReader, SerializedFileReader};
    use parquet::record::Field;
    use std::borrow::Cow;
    let reader = SerializedFileReader::new(bytes::Bytes::from(file)).unwrap();
    let rows = reader.get_row_iter(None).unwrap().map(|row| {
        let row = row.unwrap();
        let fields: BTreeMap<&String, &Field> = row.get_column_iter().collect();
        let text =
            |field: &Field| if let Field::Str(text) = field { text.clone() } else { panic!("{field:?} is no text") };
        let cell = |_, column: &'static Column| -> Result<Cell<'static>, String> {
            if column.name == PARTITION {
                return Ok(Cell::Text(day.to_owned().into()));
            }
            Ok(match fields[&column.name.to_owned()] {
                Field::Null => Cell::Null,
                Field::TimestampMillis(ms) => Cell::Time(Timestamp(u64::try_from(*ms).unwrap())),
                Field::Long(number) => Cell::Whole(u64::try_from(*number).unwrap()),
                Field::Double(number) => Cell::Real(*number),
                Field::Bool(yes) => Cell::Flag(*yes),
                Field::MapInternal(map) => {
                    Cell::Pairs(Cow::Owned(map.entries().iter().map(|(key, value)| (text(key), text(value))).collect()))
                }
                field => Cell::Text(text(field).into()),
            })
        };
        ReportRow::from_cells(cell, |column| format!("{} cannot be read", column.name)).unwrap()
    });
    rows.collect()
}

prop_compose! {
    fn any_row()(
        ms in 0_u64..3_600_000,
        id in "[a-zA-Z0-9._:-]{1,40}",
        texts in proptest::collection::vec(".{0,12}", 6),
        some in any::<[bool; 8]>(),
        numbers in any::<[u32; 6]>(),
        cost in 0.0..1e6_f64,
        metadata in proptest::collection::btree_map(".{1,8}", ".{0,20}", 0..4),
    ) -> ReportRow {
        let text = |n: usize| texts[n].clone();
        let number = |n: usize| u64::from(numbers[n]);
        let finished_at = at("2026-11-21T08:00:00Z") + Duration::from_millis(ms);
        ReportRow {
            day: finished_at.day(),
            finished_key: format!("{finished_at}#{id}"),
            request_id: RequestId::new(id).unwrap(),
            finished_at,
            tenant: text(0),
            model_id: text(1),
            use_case: some[0].then(|| text(2)),
            error_type: some[1].then(|| text(3)),
            worker: some[2].then(|| text(4)),
            batch_id: some[3].then(|| text(5)),
            queued_at: some[4].then_some(Timestamp(number(0))),
            deadline_met: some[5].then_some(some[6]),
            cost_usd: some[7].then_some(cost),
            input_tokens: some[0].then_some(number(1)),
            wait_ms: number(2),
            attempts: numbers[3],
            metadata,
            ..ReportRow::example()
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn parquet_reads_back(rows in proptest::collection::vec(any_row(), 0..40)) {
        let file = encode(Format::Parquet, &rows);
        prop_assert_eq!(&file, &encode(Format::Parquet, &rows), "the same rows, the same bytes");
        prop_assert_eq!(read_parquet(file, "2026-11-21"), rows);
    }

    #[test]
    fn lines_of_json_read_back(rows in proptest::collection::vec(any_row(), 0..10)) {
        let text = String::from_utf8(encode(Format::Jsonl, &rows)).unwrap();
        let read: Vec<ReportRow> = text.split_terminator('\n').map(|line| {
            let mut value: serde_json::Value = serde_json::from_str(line).unwrap();
            assert_eq!(value.as_object().unwrap().len(), ReportRow::COLUMNS.len() - 1, "absent values are there as null");
            value["day"] = "2026-11-21".into();
            serde_json::from_value(value).unwrap()
        }).collect();
        prop_assert_eq!(read, rows);
    }

    #[test]
    fn csv_has_every_field_of_every_row(rows in proptest::collection::vec(any_row(), 0..10)) {
        let records = parse_csv(&String::from_utf8(encode(Format::Csv, &rows)).unwrap());
        prop_assert_eq!(records.len(), rows.len() + 1);
        let place = |name: &str| records[0].iter().position(|(field, _)| field == name).unwrap();
        for (record, row) in records[1..].iter().zip(&rows) {
            prop_assert_eq!(record.len(), ReportRow::COLUMNS.len() - 1);
            let field = |name: &str| record[place(name)].clone();
            let optional = |text: &Option<String>| (text.clone().unwrap_or_default(), text.as_deref() == Some(""));
            prop_assert_eq!(field("tenant").0, row.tenant.clone());
            for (name, text) in [("use_case", &row.use_case), ("worker", &row.worker)] {
                let (found, quoted) = field(name);
                let (expected, is_empty) = optional(text);
                prop_assert_eq!(found, expected);
                prop_assert!(!is_empty || quoted, "an empty text is not an absent one");
            }
            prop_assert_eq!(field("cost_usd").0.parse::<f64>().ok(), row.cost_usd);
            let metadata: crate::request::Metadata = serde_json::from_str(&field("metadata").0).unwrap();
            prop_assert_eq!(&metadata, &row.metadata);
        }
    }
}

/// RFC 4180; each field with whether it was quoted.
fn parse_csv(text: &str) -> Vec<Vec<(String, bool)>> {
    let (mut records, mut record, mut field, mut quoted, mut inside) = (vec![], vec![], String::new(), false, false);
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' if inside && chars.peek() == Some(&'"') => field.extend(chars.next()),
            '"' => (inside, quoted) = (!inside, true),
            ',' if !inside => record.push((std::mem::take(&mut field), std::mem::take(&mut quoted))),
            '\r' if !inside => {
                assert_eq!(chars.next(), Some('\n'));
                record.push((std::mem::take(&mut field), std::mem::take(&mut quoted)));
                records.push(std::mem::take(&mut record));
            }
            c => field.push(c),
        }
    }
    assert!(record.is_empty() && field.is_empty(), "the last line has no end");
    records
}

#[test]
fn a_parquet_file_says_what_its_columns_are() {
    use parquet::file::reader::{FileReader, SerializedFileReader};
    let reader =
        SerializedFileReader::new(bytes::Bytes::from(encode(Format::Parquet, &[row("2026-11-21T08:00:00Z", "a")])))
            .unwrap();
    let metadata = reader.metadata().file_metadata();
    let about = |name: &str| {
        let of =
            metadata.key_value_metadata().unwrap().iter().find(|pair| pair.key == format!("smoother.column.{name}"));
        of.and_then(|pair| pair.value.clone()).unwrap_or_default()
    };
    assert_eq!(
        about("wait_ms"),
        "From received to the start of the last call; to the end, when there was no call. [ms]"
    );
    assert_eq!(metadata.created_by(), Some(concat!("smoother ", env!("CARGO_PKG_VERSION"))));
    assert!(metadata.schema_descr().columns().iter().all(|column| column.name() != PARTITION));
}

#[test]
fn large_files_have_several_row_groups() {
    use parquet::file::reader::{FileReader, SerializedFileReader};
    let rows: Vec<ReportRow> = (0..50_001).map(|n| row("2026-11-21T08:00:00Z", &format!("{n:05}"))).collect();
    let file = encode(Format::Parquet, &rows);
    let reader = SerializedFileReader::new(bytes::Bytes::from(file.clone())).unwrap();
    let groups: Vec<i64> = reader.metadata().row_groups().iter().map(|group| group.num_rows()).collect();
    assert_eq!(groups, [50_000, 1]);
    assert!(read_parquet(file, "2026-11-21") == rows, "what was read is not what was written");
}

/// `docs/reporting.md` has the columns from here, between two marks.
#[test]
fn the_columns_of_the_docs_are_those_of_the_rows() {
    use crate::aws::schema::glue_type;
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/reporting.md");
    let found = fs::read_to_string(path).unwrap();
    let (begin, end) = ("<!-- columns:begin -->\n", "<!-- columns:end -->");
    let (head, rest) = found.split_once(begin).unwrap();
    let (_, tail) = rest.split_once(end).unwrap();
    let mut table =
        "From `src/ports/reports.rs`; after a change there: `UPDATE_DOCS=1 cargo test --lib export`\n\n".to_owned();
    table += "| column | type | unit | may be absent | meaning |\n|---|---|---|---|---|\n";
    for column in ReportRow::COLUMNS {
        let (name, kind, unit, about) = (column.name, glue_type(column.kind), column.unit, column.about());
        let absent = if column.optional { "yes" } else { "" };
        table += &format!("| `{name}` | {kind} | {unit} | {absent} | {about} |\n");
    }
    let expected = format!("{head}{begin}{table}{end}{tail}");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(path, &expected).unwrap();
    } else {
        assert!(found == expected, "docs/reporting.md has old columns: UPDATE_DOCS=1 cargo test --lib export");
    }
}
