//! "Did you mean": the known names that lie closest to a mistyped one.

/// Names longer than this are compared no further; a typo in them is not worth the time.
const LONGEST: usize = 256;

/// The one known name that `given` most likely stands for, if any is close.
pub(crate) fn nearest<'a>(given: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    ranked(given, known).into_iter().find(|(distance, _)| *distance <= tolerance(given)).map(|(_, name)| name)
}

/// Up to `count` known names, closest first, however far they are.
pub(crate) fn closest<'a>(given: &str, known: impl IntoIterator<Item = &'a str>, count: usize) -> Vec<&'a str> {
    ranked(given, known).into_iter().take(count).map(|(_, name)| name).collect()
}

/// A third of the letters may be wrong, at least one and at most four.
fn tolerance(given: &str) -> usize {
    (given.chars().count() / 3).clamp(1, 4)
}

fn ranked<'a>(given: &str, known: impl IntoIterator<Item = &'a str>) -> Vec<(usize, &'a str)> {
    if given.len() > LONGEST {
        return Vec::new();
    }
    let given = plain(given);
    let mut ranked: Vec<_> = known.into_iter().map(|name| (distance(&given, &plain(name)), name)).collect();
    ranked.sort_unstable();
    ranked
}

/// Lower case and without the separators that people mix up, so that `modelId` is `model_id`.
fn plain(name: &str) -> Vec<char> {
    name.chars().filter(|c| !matches!(c, '_' | '-' | ' ')).flat_map(char::to_lowercase).collect()
}

/// Levenshtein distance: insertions, deletions and replacements.
fn distance(a: &[char], b: &[char]) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        for (y, cell) in b.iter().zip(row.iter_mut().skip(1)) {
            let replaced = diagonal + usize::from(x != y);
            diagonal = *cell;
            left = replaced.min(left + 1).min(*cell + 1);
            *cell = left;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn typos_and_other_spellings_find_their_name() {
        let known = ["model_id", "metadata", "priority"];
        for (given, meant) in [
            ("modelId", Some("model_id")),
            ("MODEL-ID", Some("model_id")),
            ("prioritty", Some("priority")),
            ("meta", None),
            ("colour", None),
            ("", None),
        ] {
            assert_eq!(nearest(given, known), meant, "{given}");
        }
    }

    #[test]
    fn the_closest_come_first_and_are_counted() {
        assert_eq!(closest("abcd", ["zzzz", "abcx", "abcd", "abxx"], 3), ["abcd", "abcx", "abxx"]);
        assert_eq!(closest(&"a".repeat(300), ["a"], 3), Vec::<&str>::new());
    }

    #[test]
    fn distances_are_levenshtein() {
        for (a, b, expected) in [("", "abc", 3), ("kitten", "sitting", 3), ("flaw", "lawn", 2), ("same", "same", 0)] {
            assert_eq!(distance(&plain(a), &plain(b)), expected, "{a} {b}");
        }
    }
}
