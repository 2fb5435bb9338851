//! `triggers.csv`: every trigger of a take, and what each device has for it. docs/take.md describes
//! it.

use std::fmt::Write;

/// What a take has for every trigger: a row a trigger, a column for each track of each device.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Triggers {
    /// Names of the columns after the first: `DEVICE.TRACK`.
    pub columns: Vec<String>,
    /// The first row's trigger; every row's is one more than that of the row before.
    pub first: u64,
    /// The rows, a cell a column.
    pub rows: Vec<Vec<Cell>>,
}

/// What a device has of one track for one trigger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cell {
    /// A frame with this time, in microseconds.
    At(u64),
    /// No frame, for this cause: words without a comma.
    Lost(String),
}

impl Triggers {
    /// The table as text.
    #[must_use]
    pub fn to_csv(&self) -> String {
        let mut text = String::from("trigger");
        for column in &self.columns {
            text.push(',');
            text.push_str(column);
        }
        for (place, row) in (0..).zip(&self.rows) {
            let trigger = self.first.saturating_add(place);
            // Writing to a string cannot fail.
            let _ = write!(text, "\n{trigger}");
            for cell in row {
                let _ = match cell {
                    Cell::At(us) => write!(text, ",{us}"),
                    Cell::Lost(cause) => write!(text, ",{cause}"),
                };
            }
        }
        text.push('\n');
        text
    }

    /// A table from its text.
    ///
    /// # Errors
    /// What is wrong, with its line.
    pub fn from_csv(text: &str) -> Result<Self, String> {
        let mut lines = (1..).zip(text.lines());
        let head = lines.next().and_then(|(_, head)| head.strip_prefix("trigger,"));
        let head = head.ok_or("line 1: does not begin with \"trigger,\"")?;
        let mut table =
            Self { columns: head.split(',').map(str::to_owned).collect(), ..Self::default() };
        for (number, line) in lines {
            let mut words = line.split(',');
            let trigger = words.next().and_then(|word| word.parse::<u64>().ok());
            let trigger = trigger.ok_or_else(|| format!("line {number}: no trigger's number"))?;
            if table.rows.is_empty() {
                table.first = trigger;
            }
            let expected = table.first.checked_add(table.rows.len() as u64);
            let expected = expected.ok_or_else(|| format!("line {number}: beyond all numbers"))?;
            if trigger != expected {
                return Err(format!("line {number}: trigger {trigger}, where {expected} follows"));
            }
            let cell = |word: &str| match word.parse() {
                Ok(us) => Cell::At(us),
                Err(_) => Cell::Lost(word.to_owned()),
            };
            let row: Vec<_> = words.map(cell).collect();
            if row.len() != table.columns.len() {
                let (found, columns) = (row.len(), table.columns.len());
                return Err(format!("line {number}: {found} cells for {columns} columns"));
            }
            table.rows.push(row);
        }
        Ok(table)
    }

    /// The cells of the column with this name, in order of triggers.
    pub fn column<'t>(&'t self, name: &str) -> Option<impl Iterator<Item = &'t Cell> + use<'t>> {
        let place = self.columns.iter().position(|column| column == name)?;
        Some(self.rows.iter().map(move |row| &row[place]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Triggers {
        let lost = || Cell::Lost("lane full".to_owned());
        Triggers {
            columns: vec!["1.color".to_owned(), "1.depth".to_owned()],
            first: 10,
            rows: vec![vec![Cell::At(u64::MAX), lost()], vec![lost(), Cell::At(0)]],
        }
    }

    #[test]
    fn a_table_reads_as_it_was_written() {
        let text = table().to_csv();
        assert_eq!(text.lines().nth(2), Some("11,lane full,0"));
        assert_eq!(Triggers::from_csv(&text), Ok(table()));
        let depth: Vec<_> = table().column("1.depth").expect("a column").cloned().collect();
        assert_eq!(depth, [Cell::Lost("lane full".to_owned()), Cell::At(0)]);
    }

    #[test]
    fn a_table_ends_with_the_last_number() {
        let row = |trigger: u64| format!("{trigger},1,2\n");
        let text = format!("trigger,a,b\n{}", row(u64::MAX));
        let last = Triggers::from_csv(&text).expect("a table");
        assert_eq!(last.to_csv(), text);
        let refusal = Triggers::from_csv(&(text + &row(u64::MAX))).expect_err("no table");
        assert!(refusal.contains("line 3"), "{refusal}");
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line() {
        let text = table().to_csv();
        let refused = |text: &str| Triggers::from_csv(text).expect_err("no table");
        assert!(refused("").contains("line 1"));
        assert!(refused(&text.replace("11,", "12,")).contains("line 3"));
        assert!(refused(&text.replace("11,lane full", "11")).contains("1 cells for 2"));
        assert!(refused(&text.replace("10,", "x,")).contains("line 2"));
    }
}
