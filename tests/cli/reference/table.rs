//! Reads the tables of Markdown pages.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// A row of a table.
#[derive(Debug)]
pub(crate) struct Row {
    /// The heading above the table.
    pub(crate) section: String,
    /// The cells, each with the name of its column.
    cells: Vec<(String, String)>,
}

impl Row {
    /// Returns true if the table has this column.
    pub(crate) fn has(&self, column: &str) -> bool {
        self.cells.iter().any(|(name, _)| name == column)
    }

    /// Returns the text of the cell in this column.
    pub(crate) fn cell(&self, column: &str) -> &str {
        let cell = self.cells.iter().find(|(name, _)| name == column);
        cell.map_or_else(
            || panic!("no column {column} in {self:?}"),
            |(_, text)| text,
        )
    }

    /// Returns the code span that makes up the cell in this column; `None` for any other text.
    pub(crate) fn code(&self, column: &str) -> Option<&str> {
        let text = self.cell(column).strip_prefix('`')?.strip_suffix('`')?;
        (!text.contains('`')).then_some(text)
    }

    /// Returns the code spans within the cell in this column.
    pub(crate) fn codes(&self, column: &str) -> impl Iterator<Item = String> {
        let parts = self.cell(column).split('`').skip(1).step_by(2);
        parts.map(str::to_owned)
    }
}

/// The path of a file or folder of the repository.
fn absolute(path: &str) -> PathBuf {
    let root = std::env::var("CARGO_MANIFEST_DIR").unwrap();
    Path::new(&root).join(path)
}

/// Reads a file of the repository.
pub(crate) fn read(path: &str) -> String {
    fs::read_to_string(absolute(path)).unwrap()
}

/// Returns the names of the files in a folder of the repository.
pub(crate) fn names(folder: &str) -> Vec<String> {
    let entries = fs::read_dir(absolute(folder)).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.collect()
}

/// Reads the rows of all tables of a page whose first column has this name.
pub(crate) fn rows(page: &str, first_column: &str) -> Vec<Row> {
    let (mut section, mut header) = (String::new(), Vec::new());
    let mut rows = Vec::new();
    for line in read(page).lines() {
        if let Some(heading) = line.strip_prefix("## ") {
            heading.clone_into(&mut section);
        }
        let Some(cells) = cells(line) else {
            header.clear();
            continue;
        };
        if header.is_empty() {
            header = cells;
        } else if header[0] == first_column && !cells.concat().chars().all(|c| c == '-') {
            assert_eq!(header.len(), cells.len(), "{page}: {line}");
            rows.push(Row {
                section: section.clone(),
                cells: header.iter().cloned().zip(cells).collect(),
            });
        }
    }
    assert!(!rows.is_empty(), "{page} has no table of {first_column}");
    rows
}

/// Returns the cells of a line; `None` if it belongs to no table.
fn cells(line: &str) -> Option<Vec<String>> {
    let line = line.strip_prefix('|')?.strip_suffix('|')?;
    let cells = line.split('|').map(|cell| cell.trim().to_owned());
    Some(cells.collect())
}

/// Fails unless a page lists exactly what the code has, each entry once.
pub(crate) fn assert_listed(
    page: &str,
    listed: impl IntoIterator<Item = String>,
    existing: impl IntoIterator<Item = String>,
) {
    let mut surplus: Vec<_> = listed.into_iter().collect();
    let mut missing: Vec<_> = existing.into_iter().collect();
    missing.retain(|entry| {
        let index = surplus.iter().position(|listed| listed == entry);
        index.map(|index| surplus.remove(index)).is_none()
    });
    assert!(
        missing.is_empty() && surplus.is_empty(),
        "{page} lacks {missing:#?}, and lists {surplus:#?}, which the code does not have or the \
         page has twice"
    );
}
