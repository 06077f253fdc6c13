//! Colours, where they are wanted: on a terminal that has them, unless NO_COLOR is set.

use std::io::IsTerminal;

/// Paints or leaves as it is.
#[derive(Clone, Copy, Debug)]
pub struct Paint {
    on: bool,
}

/// What a text means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    Strong,
    Faint,
    Good,
    Busy,
    Warn,
    Bad,
}

impl Paint {
    /// As stdout and the environment have it.
    pub fn of_stdout() -> Self {
        let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        Self { on: std::io::stdout().is_terminal() && !set("NO_COLOR") && !dumb }
    }

    /// No colours.
    pub fn none() -> Self {
        Self { on: false }
    }

    /// The text in its tone. Pad before painting: colours have no width, but count as characters.
    pub fn paint(self, tone: Tone, text: &str) -> String {
        let code = match tone {
            Tone::Strong => "1",
            Tone::Faint => "2",
            Tone::Good => "32",
            Tone::Busy => "36",
            Tone::Warn => "33",
            Tone::Bad => "31",
        };
        if self.on && !text.is_empty() { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
    }
}
