//! The two kinds of protobuf field that ONNX needs, written in order.

/// The bytes of a message.
#[derive(Clone, Debug, Default)]
pub(crate) struct Message(Vec<u8>);

impl Message {
    /// An integer; negative ones take ten bytes, as in an `int64`.
    pub(crate) fn integer(&mut self, field: u32, value: i64) -> &mut Self {
        self.variable(u64::from(field) << 3);
        self.variable(value as u64);
        self
    }

    /// Bytes, or a text.
    pub(crate) fn bytes(&mut self, field: u32, value: &[u8]) -> &mut Self {
        self.variable(u64::from(field) << 3 | LENGTH_DELIMITED);
        self.variable(value.len() as u64);
        self.0.extend_from_slice(value);
        self
    }

    /// A message within this one.
    pub(crate) fn message(&mut self, field: u32, value: &Self) -> &mut Self {
        self.bytes(field, &value.0)
    }

    /// Its bytes.
    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    fn variable(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }
}

const LENGTH_DELIMITED: u64 = 2;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_written_as_the_encoding_has_them() {
        let mut inner = Message::default();
        inner.integer(1, 150);
        let mut outer = Message::default();
        outer
            .bytes(2, b"testing")
            .message(3, &inner)
            .integer(16, -1);
        let mut expected = vec![0x12, 7];
        expected.extend(b"testing");
        expected.extend([0x1a, 3, 0x08, 0x96, 0x01]);
        expected.extend([0x80, 0x01]);
        expected.extend([0xff; 9]);
        expected.push(0x01);
        assert_eq!(outer.into_bytes(), expected);
    }
}
