//! The content hash: SHA-256 over what a message asks, not over how it is written.
//!
//! Spaces, key order, escapes and the notation of numbers do not matter; every value does. An object is
//! hashed through its members' hashes in key order, so a body of any size needs no tree in memory.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use super::json::Text;

/// Collects the parts of a message into its hash.
pub(super) struct ContentHash(Sha256);

impl ContentHash {
    pub(super) fn new() -> Self {
        Self(Sha256::new_with_prefix(b"smoother message 1\n"))
    }

    /// Adds a named part; parts must always be added in the same order.
    pub(super) fn part(&mut self, name: &str, value: &str) {
        text(&mut self.0, b'p', name);
        text(&mut self.0, b's', value);
    }

    /// Adds a named part that is JSON of any shape.
    ///
    /// # Errors
    /// When the JSON is nested too deeply, or has a number or an escape that stands for nothing.
    pub(super) fn json(&mut self, name: &str, value: &RawValue) -> serde_json::Result<()> {
        text(&mut self.0, b'p', name);
        Value(&mut self.0).deserialize(&mut serde_json::Deserializer::from_str(value.get()))
    }

    /// The hash in 64 hexadecimal digits.
    pub(super) fn finish(self) -> String {
        use std::fmt::Write as _;
        self.0.finalize().iter().fold(String::with_capacity(64), |mut hex, byte| {
            // Writing to a String does not fail.
            _ = write!(hex, "{byte:02x}");
            hex
        })
    }
}

/// Tag, length and content, so that no two sequences of parts look the same.
fn text(hash: &mut Sha256, tag: u8, content: &str) {
    hash.update([tag]);
    hash.update((content.len() as u64).to_le_bytes());
    hash.update(content);
}

struct Value<'h>(&'h mut Sha256);

impl<'de> DeserializeSeed<'de> for Value<'_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Value<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        self.0.update(b"n");
        Ok(())
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<(), E> {
        self.0.update(if value { b"t" } else { b"f" });
        Ok(())
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<(), E> {
        text(self.0, b'i', &value.to_string());
        Ok(())
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<(), E> {
        text(self.0, b'i', &value.to_string());
        Ok(())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<(), E> {
        if value.fract() == 0.0 && value.abs() < 9_007_199_254_740_992.0 {
            #[expect(clippy::cast_possible_truncation, reason = "checked to be whole and exactly representable")]
            return self.visit_i64(value as i64);
        }
        self.0.update(b"d");
        self.0.update(value.to_bits().to_be_bytes());
        Ok(())
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<(), E> {
        text(self.0, b's', value);
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        self.0.update(b"[");
        while seq.next_element_seed(Value(self.0))?.is_some() {}
        self.0.update(b"]");
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut members: Vec<(Cow<'de, str>, [u8; 32])> = Vec::new();
        while let Some(Text(key)) = map.next_key()? {
            let mut member = Sha256::new();
            text(&mut member, b'k', &key);
            map.next_value_seed(Value(&mut member))?;
            members.push((key, member.finalize().into()));
        }
        // Stable: of a repeated key the order counts, because the last one usually wins.
        members.sort_by(|(a, _), (b, _)| a.cmp(b));
        self.0.update(b"{");
        for (_, digest) in &members {
            self.0.update(digest);
        }
        self.0.update(b"}");
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(json: &str) -> String {
        let mut hash = ContentHash::new();
        hash.json("body", serde_json::from_str(json).unwrap()).unwrap();
        hash.finish()
    }

    #[test]
    fn the_way_of_writing_does_not_matter() {
        for (a, b) in [
            (r#"{"a":1,"b":[true,null]}"#, "{ \"b\" : [ true, null ],\n\"a\":1 }"),
            (r#""\u0041\/\u00e9""#, "\"A/é\""),
            ("100", "1e2"),
            ("0", "-0.0"),
            ("0.5", "5e-1"),
            (r#"{"x":{"c":1,"d":2}}"#, r#"{"x":{"d":2,"c":1}}"#),
        ] {
            assert_eq!(hash(a), hash(b), "{a} and {b}");
        }
    }

    #[test]
    fn every_value_and_every_place_matters() {
        let all = [
            "{}",
            "[]",
            "null",
            "[null]",
            "\"\"",
            "\"null\"",
            "0",
            "\"0\"",
            "0.5",
            "true",
            "false",
            "[[],[]]",
            "[[[]]]",
            "[1,2]",
            "[2,1]",
            "[12]",
            r#"["a","b"]"#,
            r#"["ab"]"#,
            r#"{"a":"b"}"#,
            r#"{"b":"a"}"#,
            r#"{"a":{"b":1}}"#,
            r#"{"a":{},"b":1}"#,
            r#"{"a":1,"a":2}"#,
            r#"{"a":2,"a":1}"#,
            r#"{"a":2}"#,
        ];
        let hashes: std::collections::BTreeSet<_> = all.iter().map(|json| hash(json)).collect();
        assert_eq!(hashes.len(), all.len());
    }

    #[test]
    fn bottomless_nesting_is_an_error() {
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        let raw: &RawValue = serde_json::from_str(&deep).unwrap();
        assert!(ContentHash::new().json("body", raw).is_err());
    }
}
