//! What a column is, and how values pass in and out of it.

use std::borrow::Cow;

use serde::Serialize;

use crate::clock::Timestamp;
use crate::request::Metadata;

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Text.
    Text,
    /// A time in UTC with milliseconds.
    Time,
    /// A number from 0 without fraction.
    Whole,
    /// A number.
    Real,
    /// True or false.
    Flag,
    /// Names with texts.
    Pairs,
}

/// A column of the reporting table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Column {
    /// Its name.
    pub name: &'static str,
    /// What it holds.
    pub kind: Kind,
    /// Whether it may be absent.
    pub optional: bool,
    /// `ms`, `tokens`, `USD` …; empty for what is not measured.
    pub unit: &'static str,
    /// What it means, in lines.
    #[serde(skip)]
    pub doc: &'static [&'static str],
}

impl Column {
    /// What it means, as one line.
    #[must_use]
    pub fn about(&self) -> String {
        self.doc.iter().map(|line| line.trim()).collect::<Vec<_>>().join(" ")
    }
}

/// Stands for no column.
pub(super) const NONE: Column = Column { name: "", kind: Kind::Text, optional: true, unit: "", doc: &[] };

/// One value of a row.
#[derive(Clone, Debug, PartialEq)]
pub enum Cell<'a> {
    /// Absent.
    Null,
    /// Of a [`Kind::Text`].
    Text(Cow<'a, str>),
    /// Of a [`Kind::Time`].
    Time(Timestamp),
    /// Of a [`Kind::Whole`].
    Whole(u64),
    /// Of a [`Kind::Real`].
    Real(f64),
    /// Of a [`Kind::Flag`].
    Flag(bool),
    /// Of a [`Kind::Pairs`].
    Pairs(Cow<'a, Metadata>),
}

impl<'a> Cell<'a> {
    /// The text of one.
    pub(super) fn text(self) -> Option<Cow<'a, str>> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }
}

pub(super) const fn column<T: Typed>(name: &'static str, unit: &'static str, doc: &'static [&'static str]) -> Column {
    Column { name, kind: T::KIND, optional: T::OPTIONAL, unit, doc }
}

/// A type that a column may have.
pub(super) trait Typed: Sized {
    const KIND: Kind;
    const OPTIONAL: bool = false;
    fn cell(&self) -> Cell<'_>;
    /// `None` for what it cannot be.
    fn from_cell(cell: Cell<'_>) -> Option<Self>;
}

impl<T: Typed> Typed for Option<T> {
    const KIND: Kind = T::KIND;
    const OPTIONAL: bool = true;
    fn cell(&self) -> Cell<'_> {
        self.as_ref().map_or(Cell::Null, T::cell)
    }
    fn from_cell(cell: Cell<'_>) -> Option<Self> {
        if cell == Cell::Null { Some(None) } else { T::from_cell(cell).map(Some) }
    }
}

impl Typed for String {
    const KIND: Kind = Kind::Text;
    fn cell(&self) -> Cell<'_> {
        Cell::Text(Cow::Borrowed(self))
    }
    fn from_cell(cell: Cell<'_>) -> Option<Self> {
        cell.text().map(Cow::into_owned)
    }
}

impl Typed for Timestamp {
    const KIND: Kind = Kind::Time;
    fn cell(&self) -> Cell<'_> {
        Cell::Time(*self)
    }
    fn from_cell(cell: Cell<'_>) -> Option<Self> {
        if let Cell::Time(at) = cell { Some(at) } else { None }
    }
}

macro_rules! whole {
    ($($type:ty),+) => {
        $( impl Typed for $type {
            const KIND: Kind = Kind::Whole;
            fn cell(&self) -> Cell<'_> {
                Cell::Whole(u64::from(*self))
            }
            fn from_cell(cell: Cell<'_>) -> Option<Self> {
                if let Cell::Whole(number) = cell { Self::try_from(number).ok() } else { None }
            }
        } )+
    };
}

whole!(u8, u32, u64);

impl Typed for f64 {
    const KIND: Kind = Kind::Real;
    fn cell(&self) -> Cell<'_> {
        Cell::Real(*self)
    }
    fn from_cell(cell: Cell<'_>) -> Option<Self> {
        if let Cell::Real(number) = cell { Some(number) } else { None }
    }
}

impl Typed for bool {
    const KIND: Kind = Kind::Flag;
    fn cell(&self) -> Cell<'_> {
        Cell::Flag(*self)
    }
    fn from_cell(cell: Cell<'_>) -> Option<Self> {
        if let Cell::Flag(yes) = cell { Some(yes) } else { None }
    }
}

impl Typed for Metadata {
    const KIND: Kind = Kind::Pairs;
    fn cell(&self) -> Cell<'_> {
        Cell::Pairs(Cow::Borrowed(self))
    }
    fn from_cell(cell: Cell<'_>) -> Option<Self> {
        if let Cell::Pairs(pairs) = cell { Some(pairs.into_owned()) } else { None }
    }
}
