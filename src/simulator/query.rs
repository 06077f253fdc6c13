//! Query strings and the paging that is the same everywhere.

use serde_json::Value;

use super::fault::AwsError;

/// The parameters of a request.
#[derive(Debug, Default)]
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    pub(super) fn of(text: &str) -> Self {
        let pair = |part: &str| {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            (decode(name), decode(value))
        };
        Self(text.split('&').filter(|part| !part.is_empty()).map(pair).collect())
    }

    pub(super) fn get(&self, name: &str) -> Option<String> {
        self.0.iter().find(|(given, _)| given == name).map(|(_, value)| value.clone())
    }

    /// One page of a list and the token of the next one.
    pub(super) fn page(
        &self,
        all: Vec<Value>,
        size: &str,
        token: &str,
        most: usize,
    ) -> Result<(Vec<Value>, Option<String>), AwsError> {
        let size = match self.get(size) {
            None => most,
            Some(text) => text.parse().ok().filter(|size| (1..=most).contains(size)).ok_or_else(|| {
                AwsError::validation(format!("1 validation error detected: Value '{text}' at '{size}' failed to satisfy constraint: Member must be between 1 and {most}"))
            })?,
        };
        page(all, size, self.get(token).as_deref())
    }
}

/// A page from where the token says.
pub(super) fn page(
    all: Vec<Value>,
    size: usize,
    token: Option<&str>,
) -> Result<(Vec<Value>, Option<String>), AwsError> {
    let start = match token {
        None => 0,
        Some(token) => token
            .strip_prefix("page-")
            .and_then(|start| start.parse::<usize>().ok())
            .ok_or_else(|| AwsError::validation("The pagination token is not valid."))?,
    };
    let end = start.saturating_add(size);
    let next = (end < all.len()).then(|| format!("page-{end}"));
    Ok((all.into_iter().skip(start).take(size).collect(), next))
}

/// Percent-decodes; what is no valid escape or UTF-8 stays recognisable.
fn decode(text: &str) -> String {
    let digit = |byte: Option<&u8>| {
        byte.and_then(|byte| char::from(*byte).to_digit(16)).and_then(|digit| u8::try_from(digit).ok())
    };
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        match (first, digit(tail.first()), digit(tail.get(1))) {
            (b'%', Some(high), Some(low)) => {
                bytes.push(high << 4 | low);
                rest = tail.get(2..).unwrap_or_default();
                continue;
            }
            (b'+', _, _) => bytes.push(b' '),
            _ => bytes.push(*first),
        }
        rest = tail;
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_decoded() {
        let query = Query::of("a=x%3Ay+z&b&c=%zz%4");
        assert_eq!(query.get("a").unwrap(), "x:y z");
        assert_eq!(query.get("b").unwrap(), "");
        assert_eq!(query.get("c").unwrap(), "%zz%4");
        assert_eq!(query.get("d"), None);
    }

    #[test]
    fn pages_follow_each_other() {
        let all: Vec<Value> = (0..5).map(Value::from).collect();
        let (first, next) = page(all.clone(), 3, None).unwrap();
        let (second, last) = page(all.clone(), 3, next.as_deref()).unwrap();
        assert_eq!([first, second].concat(), all);
        assert_eq!(last, None);
        assert!(page(all, 3, Some("x")).is_err());
    }
}
