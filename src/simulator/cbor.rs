//! CBOR as Smithy's RPC v2 protocol has it, read into JSON values; timestamps become seconds.

use aws_smithy_cbor::Decoder;
use aws_smithy_cbor::data::Type;
use aws_smithy_cbor::decode::DeserializeError;
use serde_json::{Map, Value};

/// Deeper values are refused; no request nests as far.
const DEEPEST: usize = 32;

/// The value that `bytes` begin with.
///
/// # Errors
/// What is wrong and where.
pub(super) fn read(bytes: &[u8]) -> Result<Value, String> {
    value(&mut Decoder::new(bytes), 0).map_err(|error| error.to_string())
}

fn value(from: &mut Decoder<'_>, depth: usize) -> Result<Value, DeserializeError> {
    if depth > DEEPEST {
        return Err(DeserializeError::custom("nested too deeply", from.position()));
    }
    Ok(match from.datatype()? {
        Type::Bool => from.boolean()?.into(),
        Type::U8 | Type::U16 | Type::U32 | Type::U64 | Type::I8 | Type::I16 | Type::I32 | Type::I64 => {
            from.long()?.into()
        }
        Type::F16 | Type::F32 | Type::F64 => from.double()?.into(),
        Type::String | Type::StringIndef => from.string()?.into(),
        Type::Tag => from.timestamp()?.as_secs_f64().into(),
        Type::Array | Type::ArrayIndef => {
            let length = from.list()?;
            let mut items = Vec::new();
            while !ended(from, length, items.len())? {
                items.push(value(from, depth + 1)?);
            }
            items.into()
        }
        Type::Map | Type::MapIndef => {
            let length = from.map()?;
            let mut fields = Map::new();
            let mut count = 0;
            while !ended(from, length, count)? {
                let name = from.string()?;
                fields.insert(name, value(from, depth + 1)?);
                count += 1;
            }
            fields.into()
        }
        Type::Break => return Err(DeserializeError::custom("an end where a value should be", from.position())),
        _ => {
            from.skip()?;
            Value::Null
        }
    })
}

/// Whether a list or map of this length, or of one that its end tells, is over.
fn ended(from: &mut Decoder<'_>, length: Option<u64>, count: usize) -> Result<bool, DeserializeError> {
    if let Some(length) = length {
        return Ok(count as u64 >= length);
    }
    let over = from.datatype()? == Type::Break;
    if over {
        from.skip()?;
    }
    Ok(over)
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_smithy_cbor::Encoder;
    use aws_smithy_types::DateTime;
    use serde_json::json;

    #[test]
    fn every_kind_of_value_is_read() {
        let mut to = Encoder::new(Vec::new());
        to.begin_map().str("list").array(2).integer(-1).double(1.5);
        to.str("open").begin_array().boolean(true).null().end();
        to.str("at").timestamp(&DateTime::from_millis(1_500)).str("map").map(1).str("a").str("b").end();
        let read = read(&to.into_writer()).unwrap();
        assert_eq!(read, json!({"list": [-1, 1.5], "open": [true, null], "at": 1.5, "map": {"a": "b"}}));
    }

    #[test]
    fn what_is_cut_off_or_endless_is_refused() {
        let mut to = Encoder::new(Vec::new());
        to.begin_map().str("a");
        assert!(read(&to.into_writer()).is_err());
        assert!(read(b"").is_err());
        assert!(read(&[0x81; 100]).unwrap_err().contains("deep"));
        assert!(read(&[0xFF]).is_err());
    }
}
