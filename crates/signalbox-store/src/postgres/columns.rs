//! Rows turned on their side: one array a column, so that one statement writes or finds any number of rows.

use std::borrow::Cow;

use tokio_postgres::types::ToSql;

use crate::schema::{Cell, ColumnKind};

/// The values of one column, a row each.
#[derive(Debug, Clone)]
pub(super) enum Column<'a> {
    /// Texts.
    Text(Vec<Option<Cow<'a, str>>>),
    /// Numbers.
    Integer(Vec<Option<i64>>),
}

/// Rows, column by column.
#[derive(Debug, Clone, Default)]
pub(super) struct Columns<'a> {
    columns: Vec<Column<'a>>,
    filled: usize,
}

impl<'a> Columns<'a> {
    /// Room for `rows` rows of these kinds.
    pub(super) fn of(kinds: impl IntoIterator<Item = ColumnKind>, rows: usize) -> Self {
        let column = |kind| match kind {
            ColumnKind::Text | ColumnKind::MaybeText => Column::Text(Vec::with_capacity(rows)),
            ColumnKind::Integer | ColumnKind::MaybeInteger => Column::Integer(Vec::with_capacity(rows)),
        };
        Self { columns: kinds.into_iter().map(column).collect(), filled: 0 }
    }

    /// Adds the next value of the row that is being filled; after the last one the next row begins.
    pub(super) fn push(&mut self, value: impl Into<Cell<'a>>) {
        match (self.columns.get_mut(self.filled), value.into()) {
            (Some(Column::Text(column)), Cell::Text(text)) => column.push(Some(storable(text))),
            (Some(Column::Text(column)), _) => column.push(None),
            (Some(Column::Integer(column)), Cell::Integer(number)) => column.push(Some(number)),
            (Some(Column::Integer(column)), _) => column.push(None),
            (None, _) => {}
        }
        self.filled = (self.filled + 1) % self.columns.len().max(1);
    }

    /// Adds values that are text or nothing.
    pub(super) fn push_text(&mut self, text: Option<&'a str>) {
        self.push(text.map_or(Cell::Null, Cell::from));
    }

    /// Adds values that are a number or nothing.
    pub(super) fn push_number(&mut self, number: Option<i64>) {
        self.push(number.map_or(Cell::Null, Cell::from));
    }

    /// Whether there is no row.
    pub(super) fn is_empty(&self) -> bool {
        match self.columns.first() {
            Some(Column::Text(column)) => column.is_empty(),
            Some(Column::Integer(column)) => column.is_empty(),
            None => true,
        }
    }

    /// Adds a few values.
    pub(super) fn extend(&mut self, cells: &[Cell<'a>]) {
        for cell in cells {
            self.push(cell.clone());
        }
    }

    /// These columns, then those of `others`.
    pub(super) fn then(mut self, others: Self) -> Self {
        self.columns.extend(others.columns);
        self
    }

    /// The arrays, as parameters of a statement.
    pub(super) fn parameters(&self) -> Vec<&(dyn ToSql + Sync)> {
        self.columns
            .iter()
            .map(|column| match column {
                Column::Text(column) => column as &(dyn ToSql + Sync),
                Column::Integer(column) => column as &(dyn ToSql + Sync),
            })
            .collect()
    }
}

/// PostgreSQL holds every character but NUL; where a name has one it is kept as the replacement character.
pub(super) fn storable(text: Cow<'_, str>) -> Cow<'_, str> {
    if text.contains('\0') { Cow::Owned(text.replace('\0', "\u{fffd}")) } else { text }
}

/// The cast that tells PostgreSQL what an array of such a column holds.
pub(super) fn array_type(kind: ColumnKind) -> &'static str {
    match kind {
        ColumnKind::Text | ColumnKind::MaybeText => "text[]",
        ColumnKind::Integer | ColumnKind::MaybeInteger => "bigint[]",
    }
}
