//! Where lines go: stdout, or a file that is only ever appended to.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

/// Takes lines, and says when they are safe.
pub enum Sink {
    /// For whoever reads it; a line counts as delivered when it is in the pipe.
    Stream(Box<dyn Write + Send>),
    /// Safe when it is on disk.
    File(File),
}

impl Sink {
    pub fn stdout() -> Self {
        Self::Stream(Box::new(io::stdout()))
    }

    /// Appends: what was taken from the queue before exists nowhere else. A line that was cut short by a kill is ended first.
    pub fn append(path: &Path) -> io::Result<Self> {
        let mut file = OpenOptions::new().read(true).append(true).create(true).open(path)?;
        if file.metadata()?.is_file() && file.seek(SeekFrom::End(0))? > 0 {
            file.seek(SeekFrom::End(-1))?;
            let mut last = [0];
            file.read_exact(&mut last)?;
            if last != *b"\n" {
                file.write_all(b"\n")?;
            }
        }
        Ok(Self::File(file))
    }

    /// Writes one line.
    pub fn line(&mut self, line: &str) -> io::Result<()> {
        let line = format!("{line}\n");
        match self {
            Self::Stream(stream) => {
                stream.write_all(line.as_bytes())?;
                stream.flush()
            }
            Self::File(file) => file.write_all(line.as_bytes()),
        }
    }

    /// Returns when all lines so far are safe.
    pub fn commit(&mut self) -> io::Result<()> {
        match self {
            Self::Stream(stream) => stream.flush(),
            // A pipe or a terminal cannot be synced and need not be.
            Self::File(file) => match file.sync_data() {
                Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(()),
                synced => synced,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_appended_to_and_a_cut_line_ended() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("out.jsonl");
        for line in ["one", "two"] {
            let mut sink = Sink::append(&path).unwrap();
            sink.line(line).unwrap();
            sink.commit().unwrap();
        }
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "one\ntwo\n");
        std::fs::write(&path, "one\n{\"cut").unwrap();
        Sink::append(&path).unwrap().line("two").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "one\n{\"cut\ntwo\n");
    }
}
