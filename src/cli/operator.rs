//! Who gives an order, for the notes on the rows that it changes.

use std::fs;

use clap::Args;

/// Who does it.
#[derive(Clone, Debug, Args)]
pub struct OperatorArgs {
    /// Who you are, for the history of the requests; by default user@host
    #[arg(long, value_name = "NAME", env = "SMOOTHER_OPERATOR")]
    by: Option<String>,
}

/// Names are cut here: they go into every row that is touched.
const LONGEST: usize = 64;

impl OperatorArgs {
    /// The operator's name.
    pub fn name(&self) -> String {
        let name = self.by.clone().filter(|by| !by.trim().is_empty()).unwrap_or_else(user_at_host);
        name.trim().chars().filter(|c| !c.is_control()).take(LONGEST).collect()
    }
}

fn user_at_host() -> String {
    let set = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let user = set("USER").or_else(|| set("LOGNAME")).unwrap_or_else(|| "somebody".to_owned());
    let file = || fs::read_to_string("/etc/hostname").ok().map(|name| name.trim().to_owned());
    let host = set("HOSTNAME").or_else(file).filter(|name| !name.is_empty());
    host.map_or(user.clone(), |host| format!("{user}@{host}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_short_and_never_empty() {
        let name = |by: &str| OperatorArgs { by: Some(by.to_owned()) }.name();
        assert_eq!(name(" ann\n"), "ann");
        assert_eq!(name(&"x".repeat(100)).len(), LONGEST);
        assert!(!name("  ").is_empty());
        assert!(!OperatorArgs { by: None }.name().is_empty());
    }
}
