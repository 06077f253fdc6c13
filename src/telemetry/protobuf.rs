//! Writing protobuf: the four wire forms that traces need. An encoder of one message type is smaller than the crates that
//! generate one, and a test with the official decoder holds it to the standard.

/// A message, field by field.
#[derive(Debug, Default)]
pub(super) struct Message(Vec<u8>);

const VARINT: u64 = 0;
const FIXED64: u64 = 1;
const LENGTH: u64 = 2;
const FIXED32: u64 = 5;

impl Message {
    /// A message that `fill` fills.
    pub(super) fn of(fill: impl FnOnce(&mut Self)) -> Self {
        let mut message = Self::default();
        fill(&mut message);
        message
    }

    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    /// Whole numbers and booleans.
    pub(super) fn varint(&mut self, field: u64, value: u64) {
        self.tag(field, VARINT);
        self.raw_varint(value);
    }

    /// `fixed64`.
    pub(super) fn fixed64(&mut self, field: u64, value: u64) {
        self.tag(field, FIXED64);
        self.0.extend(value.to_le_bytes());
    }

    /// `fixed32`.
    pub(super) fn fixed32(&mut self, field: u64, value: u32) {
        self.tag(field, FIXED32);
        self.0.extend(value.to_le_bytes());
    }

    /// `double`.
    pub(super) fn double(&mut self, field: u64, value: f64) {
        self.fixed64(field, value.to_bits());
    }

    /// Text and bytes.
    pub(super) fn bytes(&mut self, field: u64, value: &[u8]) {
        self.tag(field, LENGTH);
        self.raw_varint(value.len() as u64);
        self.0.extend(value);
    }

    /// A message in this one.
    pub(super) fn message(&mut self, field: u64, fill: impl FnOnce(&mut Self)) {
        self.bytes(field, &Self::of(fill).0);
    }

    fn tag(&mut self, field: u64, form: u64) {
        self.raw_varint(field << 3 | form);
    }

    /// Seven bits a byte, the lowest first; the eighth says that more follow.
    fn raw_varint(&mut self, mut value: u64) {
        loop {
            let [low, ..] = value.to_le_bytes();
            value >>= 7;
            if value == 0 {
                self.0.push(low & 0x7f);
                return;
            }
            self.0.push(low | 0x80);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_form_is_as_the_standard_says() {
        let message = Message::of(|m| {
            m.varint(1, 150);
            m.bytes(2, b"testing");
            m.message(3, |inner| inner.varint(1, 150));
            m.fixed64(4, 1);
            m.fixed32(16, 257);
            m.double(5, 1.0);
            m.varint(6, u64::MAX);
        });
        let mut expected = vec![0x08, 0x96, 0x01];
        expected.extend([0x12, 0x07, 0x74, 0x65, 0x73, 0x74, 0x69, 0x6e, 0x67]);
        expected.extend([0x1a, 0x03, 0x08, 0x96, 0x01]);
        expected.extend([0x21, 1, 0, 0, 0, 0, 0, 0, 0]);
        expected.extend([0x85, 0x01, 1, 1, 0, 0]);
        expected.extend([0x29, 0, 0, 0, 0, 0, 0, 0xf0, 0x3f]);
        expected.extend([0x30, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]);
        assert_eq!(message.into_bytes(), expected);
    }
}
