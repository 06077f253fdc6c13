//! Reads a file of one message a line, without ever holding more than one line.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Seek};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// One line that is not blank.
#[derive(Debug, PartialEq, Eq)]
pub struct Line<'a> {
    /// From 1, blank lines counted.
    pub number: u64,
    /// What it says.
    pub content: Content<'a>,
}

/// What a line says.
#[derive(Debug, PartialEq, Eq)]
pub enum Content<'a> {
    /// The line without what ends it.
    Bytes(&'a [u8]),
    /// More than any message may have: this many bytes, passed over.
    TooLong(u64),
}

impl Content<'_> {
    /// Whether this first line is that of a list, or of an object over several lines.
    pub fn begins_spread_json(&self) -> bool {
        matches!(self, Self::Bytes(bytes) if *bytes == b"{" || bytes.starts_with(b"["))
    }
}

/// The lines of an input.
pub struct Lines<R> {
    input: R,
    number: u64,
    /// The longest line that is kept, bytes.
    limit: u64,
    buffer: Vec<u8>,
    read: u64,
}

impl<R: BufRead> Lines<R> {
    /// Lines of at most `limit` bytes.
    pub fn new(input: R, limit: u64) -> Self {
        Self { input, number: 0, limit, buffer: Vec::new(), read: 0 }
    }

    /// The next line that is not blank.
    pub fn next(&mut self) -> io::Result<Option<Line<'_>>> {
        loop {
            self.buffer.clear();
            // Room for the end of the line, so that a line of just the limit is seen to end.
            let most = self.limit.saturating_add(2);
            let read = (&mut self.input).take(most).read_until(b'\n', &mut self.buffer)? as u64;
            if read == 0 {
                return Ok(None);
            }
            self.number += 1;
            self.read += read;
            if read == most && !self.buffer.ends_with(b"\n") {
                let passed_over = self.input.skip_until(b'\n')? as u64;
                self.read += passed_over;
                let content = Content::TooLong(read + passed_over);
                return Ok(Some(Line { number: self.number, content }));
            }
            if !self.buffer.trim_ascii().is_empty() {
                break;
            }
        }
        Ok(Some(Line { number: self.number, content: Content::Bytes(self.buffer.trim_ascii_end()) }))
    }

    /// Bytes read so far.
    pub fn read(&self) -> u64 {
        self.read
    }
}

/// A file that can be read twice, and how long it is. A pipe or stdin (`-`) is first copied into a temporary file
/// that only this process can open, and that is gone when it ends.
pub fn open(path: &Path) -> io::Result<(File, u64)> {
    if path.as_os_str() == "-" {
        return spool(&mut io::stdin().lock());
    }
    let mut file = File::open(path)?;
    let about = file.metadata()?;
    if about.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    if about.is_file() { Ok((file, about.len())) } else { spool(&mut file) }
}

fn spool(input: &mut impl Read) -> io::Result<(File, u64)> {
    let path = std::env::temp_dir().join(format!("smoother-submit-{:032x}", fastrand::u128(..)));
    let mut file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path)?;
    std::fs::remove_file(&path)?;
    let length = io::copy(input, &mut file)?;
    file.rewind()?;
    Ok((file, length))
}

/// The lines of a file from its beginning.
pub fn rewound(file: &File, limit: u64) -> io::Result<Lines<BufReader<&File>>> {
    let mut file = file;
    file.rewind()?;
    Ok(Lines::new(BufReader::with_capacity(1 << 18, file), limit))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(text: &str, limit: u64) -> Vec<(u64, Result<String, u64>)> {
        let mut lines = Lines::new(text.as_bytes(), limit);
        let mut all = Vec::new();
        while let Some(line) = lines.next().unwrap() {
            let content = match line.content {
                Content::Bytes(bytes) => Ok(String::from_utf8(bytes.to_vec()).unwrap()),
                Content::TooLong(bytes) => Err(bytes),
            };
            all.push((line.number, content));
        }
        assert_eq!(lines.read(), text.len() as u64);
        all
    }

    #[test]
    fn blank_lines_count_and_are_passed_over() {
        let expected = vec![(2, Ok("{}".to_owned())), (5, Ok(" [1]".to_owned())), (6, Ok("x".to_owned()))];
        assert_eq!(all("\n{}\r\n  \t\n\r\n [1] \nx", 100), expected);
        assert_eq!(all("", 100), []);
    }

    #[test]
    fn a_line_is_kept_up_to_the_limit_and_told_beyond() {
        let text = format!("{}\n{}\r\n{}\nend", "a".repeat(10), "b".repeat(10), "c".repeat(1000));
        let got = all(&text, 10);
        assert_eq!(got[0], (1, Ok("a".repeat(10))));
        assert_eq!(got[1], (2, Ok("b".repeat(10))));
        assert_eq!(got[2], (3, Err(1001)));
        assert_eq!(got[3], (4, Ok("end".to_owned())));
    }

    #[test]
    fn what_was_spooled_reads_twice() {
        let (file, length) = spool(&mut "one\ntwo\n".as_bytes()).unwrap();
        assert_eq!(length, 8);
        for _ in 0..2 {
            let mut lines = rewound(&file, 10).unwrap();
            assert_eq!(lines.next().unwrap().unwrap().content, Content::Bytes(b"one"));
            assert_eq!(lines.next().unwrap().unwrap().number, 2);
            assert_eq!(lines.next().unwrap(), None);
        }
    }
}
