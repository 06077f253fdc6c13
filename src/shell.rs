//! Words for a shell, wherever a command is written for people to copy.

/// As it must be written: quoted when need be.
#[must_use]
pub fn word(text: &str) -> String {
    let safe = |c: char| c.is_ascii_alphanumeric() || "-_./:=,@%+".contains(c);
    if !text.is_empty() && text.chars().all(safe) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_quoted_when_they_must_be() {
        assert_eq!(word("./data"), "./data");
        assert_eq!(word("my data's"), r"'my data'\''s'");
        assert_eq!(word(""), "''");
    }
}
