//! Where a request stands in a distributed trace: the W3C trace context, as the header and message attribute `traceparent`
//! carry it.

use std::fmt;

/// The message attribute, and the HTTP header, of a trace context.
pub const TRACEPARENT: &str = "traceparent";

/// A span of a trace, to be continued.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceContext {
    /// The trace; never 0.
    pub trace_id: u128,
    /// The span that what follows is a child of; never 0.
    pub span_id: u64,
    /// Whether the trace is recorded.
    pub sampled: bool,
}

impl TraceContext {
    /// A new trace.
    #[must_use]
    pub fn start(sampled: bool) -> Self {
        Self { trace_id: fastrand::u128(1..), span_id: span_id(), sampled }
    }

    /// A new span of the same trace.
    #[must_use]
    pub fn child(self) -> Self {
        Self { span_id: span_id(), ..self }
    }

    /// Reads `VERSION-TRACE-SPAN-FLAGS`: `00-`, 32 and 16 lower-case hex digits that are not all 0, and two more for the flags.
    /// Later versions may say more behind that. `None` for anything else: who cannot read a context starts a new one.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut fields = text.split('-');
        let [version, trace, span, flags] = [fields.next()?, fields.next()?, fields.next()?, fields.next()?];
        let hex = |field: &str, digits: usize| {
            let fits = field.len() == digits && field.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
            fits.then(|| u128::from_str_radix(field, 16).ok()).flatten()
        };
        let version = hex(version, 2).filter(|version| *version != 0xff)?;
        if version == 0 && fields.next().is_some() {
            return None;
        }
        Some(Self {
            trace_id: hex(trace, 32).filter(|id| *id != 0)?,
            span_id: u64::try_from(hex(span, 16)?).ok().filter(|id| *id != 0)?,
            sampled: hex(flags, 2)? & 1 == 1,
        })
    }

    /// The trace's id as people and tools write it: 32 hex digits.
    #[must_use]
    pub fn trace_hex(self) -> String {
        format!("{:032x}", self.trace_id)
    }

    /// The span's id as people and tools write it: 16 hex digits.
    #[must_use]
    pub fn span_hex(self) -> String {
        format!("{:016x}", self.span_id)
    }
}

fn span_id() -> u64 {
    fastrand::u64(1..)
}

impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{:032x}-{:016x}-{:02x}", self.trace_id, self.span_id, u8::from(self.sampled))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const EXAMPLE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn the_standards_example_is_read() {
        let context = TraceContext::parse(EXAMPLE).unwrap();
        assert_eq!(context.trace_hex(), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!(context.span_hex(), "00f067aa0ba902b7");
        assert!(context.sampled);
        assert_eq!(context.to_string(), EXAMPLE);
        let child = context.child();
        assert!(child.trace_id == context.trace_id && child.sampled && child.span_id != context.span_id);
    }

    #[test]
    fn what_is_malformed_is_none_and_what_is_newer_is_read_as_far_as_it_is_known() {
        for bad in [
            "",
            "-",
            "00",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4bf92f3577b34da6a3ce929d0e0e473-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-1",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0g",
            "00-+bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            " 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        ] {
            assert_eq!(TraceContext::parse(bad), None, "{bad:?}");
        }
        let newer = TraceContext::parse("cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-03-what-ever").unwrap();
        assert_eq!(newer.to_string(), EXAMPLE, "what goes on is what is known");
    }

    proptest! {
        #[test]
        fn a_context_reads_back_what_it_shows(trace_id in 1_u128.., span_id in 1_u64.., sampled: bool) {
            let context = TraceContext { trace_id, span_id, sampled };
            prop_assert_eq!(TraceContext::parse(&context.to_string()), Some(context));
        }

        #[test]
        fn no_text_is_too_odd_to_be_looked_at(text in "\\PC*") {
            if let Some(context) = TraceContext::parse(&text) {
                prop_assert!(context.trace_id != 0 && context.span_id != 0);
            }
        }

        #[test]
        fn one_wrong_character_is_noticed(at in 0_usize..55, wrong in "[g-zA-Z _.]") {
            let mut text = EXAMPLE.to_owned();
            text.replace_range(at..=at, &wrong);
            prop_assert_eq!(TraceContext::parse(&text), None);
        }
    }
}
