//! Words of hosts, which become cells of a table and reasons of a take: hosts are not trusted to
//! keep them short, or on their line.

/// Letters at most.
const LETTERS_MAX: usize = 160;

/// The words on one line, and not too many.
pub(super) fn line(words: &str) -> String {
    let letter = |c: char| if c.is_control() { ' ' } else { c };
    words.trim().chars().map(letter).take(LETTERS_MAX).collect()
}

/// The words as a cause: what would end a cell, or be taken for a time, is none of it.
pub(super) fn cause(words: &str) -> String {
    let cause = line(words).replace(',', ";");
    match cause.is_empty() || cause.parse::<u64>().is_ok() {
        true => format!("for the cause \"{cause}\""),
        false => cause,
    }
}

/// Why a take is not what was asked for, each reason once.
#[derive(Debug, Default)]
pub(super) struct Reasons(Vec<String>);

impl Reasons {
    /// Of the device's host, which the reason of a take calls by its name.
    pub fn say(&mut self, why: String) {
        let why = why.strip_prefix("its host ").map_or(why.clone(), |why| format!("host {why}"));
        if !self.0.contains(&why) {
            self.0.push(why);
        }
    }

    pub fn finish(self) -> Option<String> {
        (!self.0.is_empty()).then(|| self.0.join("; "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use genlock_formats::triggers::{Cell, Triggers};

    #[test]
    fn whatever_a_host_says_is_one_cell() {
        for words in ["a, b\n7,8", "", " ", "12", "\u{1b}[2J\r", &"x".repeat(9999)] {
            let cell = Cell::Lost(cause(words));
            let columns = vec!["1.color".to_owned()];
            let table = Triggers { columns, first: 3, rows: vec![vec![cell]] };
            assert_eq!(Triggers::from_csv(&table.to_csv()), Ok(table), "{words:?}");
        }
        assert_eq!(cause("lane full"), "lane full");
    }

    #[test]
    fn reasons_are_said_once_and_call_hosts_by_name() {
        let mut reasons = Reasons::default();
        for why in ["its host b did not answer", "its host b did not answer", "disk full"] {
            reasons.say(why.to_owned());
        }
        assert_eq!(reasons.finish(), Some("host b did not answer; disk full".to_owned()));
        assert_eq!(Reasons::default().finish(), None);
    }
}
