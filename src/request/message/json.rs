//! Reading JSON without building a tree: members and items as untouched slices of the message.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// A string that borrows from the message unless it has escapes.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Text<'a>(pub(super) Cow<'a, str>);

impl<'de> Deserialize<'de> for Text<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextVisitor;
        impl<'de> Visitor<'de> for TextVisitor {
            type Value = Text<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }
            fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Text(Cow::Borrowed(text)))
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(TextVisitor)
    }
}

/// What kind of value a slice of JSON is, in words.
pub(super) fn kind(raw: &RawValue) -> &'static str {
    match raw.get().as_bytes().first() {
        Some(b'{') => "an object",
        Some(b'[') => "an array",
        Some(b'"') => "a string",
        Some(b't' | b'f') => "a boolean",
        Some(b'n') => "null",
        _ => "a number",
    }
}

/// Whether the slice is an object.
pub(super) fn is_object(raw: &RawValue) -> bool {
    raw.get().starts_with('{')
}

/// Whether the slice is an array.
pub(super) fn is_array(raw: &RawValue) -> bool {
    raw.get().starts_with('[')
}

/// The text of a string; `None` for everything else and for escapes that stand for no character.
pub(super) fn text(raw: &RawValue) -> Option<Cow<'_, str>> {
    serde_json::from_str::<Text<'_>>(raw.get()).ok().map(|t| t.0)
}

/// The value of a whole number, however it is written (`5`, `5.0`, `5e0`); `None` for everything else.
pub(super) fn whole(raw: &RawValue) -> Option<i64> {
    if let Ok(number) = serde_json::from_str::<i64>(raw.get()) {
        return Some(number);
    }
    let number = serde_json::from_str::<f64>(raw.get()).ok()?;
    #[expect(clippy::cast_possible_truncation, reason = "checked to be whole and exactly representable")]
    (number.fract() == 0.0 && number.abs() < 9_007_199_254_740_992.0).then_some(number as i64)
}

/// Calls `each` for every member of an object, in order and with repetitions.
pub(super) fn members<'a>(raw: &'a RawValue, each: impl FnMut(Cow<'a, str>, &'a RawValue)) -> serde_json::Result<()> {
    struct Members<F>(F);
    impl<'de, F: FnMut(Cow<'de, str>, &'de RawValue)> Visitor<'de> for Members<F> {
        type Value = ();
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }
        fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
            while let Some(key) = map.next_key::<Text<'de>>()? {
                (self.0)(key.0, map.next_value()?);
            }
            Ok(())
        }
    }
    serde_json::Deserializer::from_str(raw.get()).deserialize_map(Members(each))
}

/// Calls `each` for every item of an array, in order.
pub(super) fn items<'a>(raw: &'a RawValue, each: impl FnMut(&'a RawValue)) -> serde_json::Result<()> {
    struct Items<F>(F);
    impl<'de, F: FnMut(&'de RawValue)> Visitor<'de> for Items<F> {
        type Value = ();
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an array")
        }
        fn visit_seq<A: SeqAccess<'de>>(mut self, mut seq: A) -> Result<(), A::Error> {
            while let Some(item) = seq.next_element()? {
                (self.0)(item);
            }
            Ok(())
        }
    }
    serde_json::Deserializer::from_str(raw.get()).deserialize_seq(Items(each))
}

/// The member called `name`; the last one when it is repeated.
pub(super) fn member<'a>(raw: &'a RawValue, name: &str) -> Option<&'a RawValue> {
    let mut found = None;
    if is_object(raw) {
        members(raw, |key, value| {
            if key == name {
                found = Some(value);
            }
        })
        .ok()?;
    }
    found
}

/// Length of the value without the spaces and line breaks that only lay it out.
pub(super) fn compact_len(raw: &RawValue) -> u64 {
    let (mut in_string, mut escaped, mut length) = (false, false, 0);
    for byte in raw.get().bytes() {
        if in_string {
            in_string = escaped || byte != b'"';
            escaped = !escaped && byte == b'\\';
            length += 1;
        } else if !byte.is_ascii_whitespace() {
            in_string = byte == b'"';
            length += 1;
        }
    }
    length
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(text: &str) -> &RawValue {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn whole_numbers_are_taken_in_any_notation() {
        for (text, expected) in [
            ("5", Some(5)),
            ("5.0", Some(5)),
            ("50e-1", Some(5)),
            ("-3", Some(-3)),
            ("5.5", None),
            ("1e300", None),
            ("\"5\"", None),
            ("null", None),
        ] {
            assert_eq!(whole(raw(text)), expected, "{text}");
        }
    }

    #[test]
    fn layout_does_not_count() {
        for text in [r#"{"a b":[1,"x \" \\"],"c":null}"#, "{ \"a b\" : [ 1 ,\n\t\"x \\\" \\\\\" ] , \"c\": null }"] {
            assert_eq!(compact_len(raw(text)), 30, "{text}");
        }
    }

    #[test]
    fn members_come_as_they_are_written() {
        let mut seen = Vec::new();
        members(raw(r#"{"a": {"x" : 1 }, "b\n":[ ], "a":2}"#), |key, value| {
            seen.push((key.into_owned(), value.get().to_owned()));
        })
        .unwrap();
        let expected = [("a", r#"{"x" : 1 }"#), ("b\n", "[ ]"), ("a", "2")];
        assert_eq!(seen, expected.map(|(k, v)| (k.to_owned(), v.to_owned())));
    }
}
