//! The rules that let two versions share a database (docs/operations/upgrades.md): migrations only add,
//! and statements name their columns.

use std::path::Path;

use contact_service::storage::TABLE_DISTRIBUTIONS;
use rstest::rstest;

use super::{assert_none, sources};

const MIGRATIONS: &str = "src/storage/migration";
/// The schema of the first release: no version is older.
const BASE: &str = "src/storage/migration/m20261128_000001_base";
/// Removals from a schema and changes that reject rows of an older version, as calls of `sea_query` and
/// in SQL.
const DESTRUCTIVE: &[&str] = &[
    "drop_table",
    "drop_index",
    "drop_column",
    "drop_foreign_key",
    "drop_type",
    "rename_table",
    "rename_column",
    "rename_type",
    "modify_column",
    "truncate_table",
    "table::drop",
    "table::rename",
    "table::truncate",
    "index::drop",
    "foreign_key::drop",
    "drop table",
    "drop column",
    "drop index",
    "drop constraint",
    "drop trigger",
    "drop function",
    "drop view",
    "rename to",
    "rename column",
    "alter column",
    "add constraint",
    "truncate",
    "delete from",
];
/// Allows the statement below it: `// contract: unused since 0.2, REASON`.
const MARK: &str = "// contract: unused since ";

/// The lines of a migration that an older version would not survive, unless a mark is above them.
fn destructive_lines(source: &str) -> Vec<String> {
    let mut is_marked = false;
    let mut found = Vec::new();
    for line in source.lines().map(str::trim) {
        if line.starts_with("//") {
            is_marked |= line.strip_prefix(MARK).is_some_and(is_reason);
            continue;
        }
        let lower = line.to_lowercase();
        let is_destructive = DESTRUCTIVE.iter().any(|word| lower.contains(word));
        if is_destructive && !is_marked {
            found.push(line.to_owned());
        }
        // A mark covers one statement.
        is_marked &= !line.is_empty() && !line.ends_with(';');
    }
    found
}

/// A version, and why nothing uses it.
fn is_reason(text: &str) -> bool {
    text.split_once(", ").is_some_and(|(version, reason)| {
        version.contains('.')
            && version.split('.').all(|part| part.parse::<u32>().is_ok())
            && !reason.is_empty()
    })
}

/// The parts of statements that depend on how many columns a table has: their result changes with a
/// column of a later version, which fails prepared statements.
fn unnamed_columns(source: &str) -> Vec<String> {
    let of_service = source.split("#[cfg(test)]").next().unwrap();
    let lower = of_service.to_lowercase().replace("\\\n", " ");
    let text = lower.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut forms = vec!["returning *".to_owned(), "select *,".to_owned()];
    for (table, _) in TABLE_DISTRIBUTIONS {
        forms.push(format!("select * from {table} "));
        forms.push(format!("{table}.*"));
        for values in ["values", "select", "default values"] {
            forms.push(format!("insert into {table} {values}"));
        }
    }
    forms.retain(|form| text.contains(form.as_str()));
    forms
}

/// Returns true for the files of a migration but those of the base: their names begin with a date.
fn is_of_later_migration(path: &Path) -> bool {
    let path = path.to_str().unwrap();
    path.starts_with(&format!("{MIGRATIONS}/m2")) && !path.starts_with(BASE)
}

#[test]
fn migrations_after_the_base_only_add() {
    let mut wrong = Vec::new();
    for (path, source) in sources(MIGRATIONS) {
        if is_of_later_migration(&path) {
            let lines = destructive_lines(&source).into_iter();
            wrong.extend(lines.map(|line| format!("{}: {line}", path.display())));
        }
    }
    assert_none(&wrong);
}

#[test]
fn statements_name_their_columns() {
    let mut wrong = Vec::new();
    for (path, source) in sources("src/storage") {
        let forms = unnamed_columns(&source).into_iter();
        wrong.extend(forms.map(|form| format!("{}: {form}", path.display())));
    }
    assert_none(&wrong);
}

#[rstest]
#[case::a_builder("manager.drop_table(table).await?;")]
#[case::a_column("Table::alter().table(CONTACTS).drop_column(TITLE)")]
#[case::sql("execute_unprepared(\"ALTER TABLE contacts DROP COLUMN title\")")]
#[case::a_renaming("\"ALTER TABLE contacts rename to people\"")]
#[case::a_stricter_column("ALTER TABLE contacts ALTER COLUMN title SET NOT NULL;")]
#[case::a_mark_without_a_reason("// contract: unused since 0.2\nDROP TABLE contacts;")]
#[case::a_mark_without_a_version("// contract: unused since it, old\nDROP TABLE contacts;")]
#[case::another_statement("// contract: unused since 0.2, old\nDROP TABLE a;\nDROP TABLE b;")]
fn a_destructive_migration_is_found(#[case] source: &str) {
    assert_eq!(destructive_lines(source).len(), 1, "{source}");
}

#[rstest]
#[case::a_column("Table::alter().table(CONTACTS).add_column(text_null(\"note\"))")]
#[case::a_table("manager.create_table(table).await?;")]
#[case::a_mark("// contract: unused since 0.2, titles\n// moved.\nDROP TABLE\n  titles;")]
fn an_additive_migration_passes(#[case] source: &str) {
    assert_none(&destructive_lines(source));
}

#[rstest]
#[case::all_of_a_table("SELECT * FROM contacts \\\n WHERE a")]
#[case::all_and_more("SELECT *, a AS b \\\n FROM contacts")]
#[case::all_of_one("SELECT a, contacts.* FROM a")]
#[case::returned("DELETE FROM contacts \\\n RETURNING *")]
#[case::by_position("INSERT INTO contacts \\\n VALUES ($1)")]
fn a_statement_without_names_is_found(#[case] source: &str) {
    assert_eq!(unnamed_columns(source).len(), 1, "{source}");
}
