//! How the building blocks of messages are written: one trait, hand-written per type.

use bytes::Bytes;
use keelhold_chunk::{ChunkId, DecodeError, Reader, Writer};

/// Something with one encoding. `take` accepts only what `put` writes.
pub(crate) trait Field: Sized {
    fn put(&self, writer: &mut Writer);
    /// `body` is the whole message `reader` stands in: payloads are slices of it, not copies.
    fn take(reader: &mut Reader<'_>, body: &Bytes) -> Result<Self, DecodeError>;
}

impl Field for u64 {
    fn put(&self, writer: &mut Writer) {
        writer.varint(*self);
    }

    fn take(reader: &mut Reader<'_>, _body: &Bytes) -> Result<Self, DecodeError> {
        reader.varint()
    }
}

impl Field for u32 {
    fn put(&self, writer: &mut Writer) {
        writer.varint(u64::from(*self));
    }

    fn take(reader: &mut Reader<'_>, _body: &Bytes) -> Result<Self, DecodeError> {
        reader.varint_u32()
    }
}

impl Field for i64 {
    fn put(&self, writer: &mut Writer) {
        writer.signed(*self);
    }

    fn take(reader: &mut Reader<'_>, _body: &Bytes) -> Result<Self, DecodeError> {
        reader.signed()
    }
}

impl Field for bool {
    fn put(&self, writer: &mut Writer) {
        writer.u8(u8::from(*self));
    }

    fn take(reader: &mut Reader<'_>, _body: &Bytes) -> Result<Self, DecodeError> {
        match reader.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            other => Err(reader.undefined("flag", u64::from(other))),
        }
    }
}

impl<const N: usize> Field for [u8; N] {
    fn put(&self, writer: &mut Writer) {
        writer.raw(self);
    }

    fn take(reader: &mut Reader<'_>, _body: &Bytes) -> Result<Self, DecodeError> {
        reader.array()
    }
}

impl Field for ChunkId {
    fn put(&self, writer: &mut Writer) {
        writer.raw(self.as_bytes());
    }

    fn take(reader: &mut Reader<'_>, _body: &Bytes) -> Result<Self, DecodeError> {
        Ok(Self::from_bytes(reader.array()?))
    }
}

impl<T: Field> Field for Option<T> {
    fn put(&self, writer: &mut Writer) {
        writer.u8(u8::from(self.is_some()));
        if let Some(value) = self {
            value.put(writer);
        }
    }

    fn take(reader: &mut Reader<'_>, body: &Bytes) -> Result<Self, DecodeError> {
        Ok(if bool::take(reader, body)? { Some(T::take(reader, body)?) } else { None })
    }
}

/// Length-prefixed bytes of at most `limit`, owned.
pub(crate) fn take_bytes(reader: &mut Reader<'_>, limit: usize) -> Result<Vec<u8>, DecodeError> {
    Ok(reader.bytes(limit)?.to_vec())
}

/// Length-prefixed UTF-8 of at most `limit` bytes.
pub(crate) fn take_text(reader: &mut Reader<'_>, limit: usize) -> Result<String, DecodeError> {
    let bytes = reader.bytes(limit)?;
    match std::str::from_utf8(bytes) {
        Ok(text) => Ok(text.to_owned()),
        Err(error) => Err(reader.undefined("text", error.valid_up_to() as u64)),
    }
}

/// Writes `text`, shortened at a character to `limit` bytes: a long reason is no reason to fail.
pub(crate) fn put_text(writer: &mut Writer, text: &str, limit: usize) {
    let end = text.floor_char_boundary(limit);
    writer.bytes(text.get(..end).unwrap_or_default().as_bytes());
}

/// A count and that many values. Room is taken as values arrive, never ahead of the bytes.
pub(crate) fn take_list<T: Field>(
    reader: &mut Reader<'_>,
    body: &Bytes,
    limit: usize,
) -> Result<Vec<T>, DecodeError> {
    let count = reader.count(limit)?;
    let mut list = Vec::new();
    for _ in 0..count {
        list.push(T::take(reader, body)?);
    }
    Ok(list)
}

pub(crate) fn put_list<T: Field>(writer: &mut Writer, list: &[T]) {
    writer.varint(list.len() as u64);
    list.iter().for_each(|value| value.put(writer));
}

/// Implements [`Field`] for a struct, fields in the order they are named. A field with a limit of
/// its own says so: `name: text(LIMIT)`, `bytes(LIMIT)` or `list(LIMIT)`.
macro_rules! fields {
    ($name:ident { $($field:ident $(: $form:ident($limit:expr))?),* $(,)? }) => {
        impl crate::field::Field for $name {
            fn put(&self, writer: &mut keelhold_chunk::Writer) {
                $( crate::field::put_field!(writer, self.$field $(, $form($limit))?); )*
            }

            fn take(
                reader: &mut keelhold_chunk::Reader<'_>,
                body: &bytes::Bytes,
            ) -> Result<Self, keelhold_chunk::DecodeError> {
                Ok(Self {
                    $( $field: crate::field::take_field!(reader, body $(, $form($limit))?), )*
                })
            }
        }
    };
}

macro_rules! put_field {
    ($writer:ident, $value:expr) => {
        crate::field::Field::put(&$value, $writer)
    };
    ($writer:ident, $value:expr, text($limit:expr)) => {
        crate::field::put_text($writer, &$value, $limit)
    };
    ($writer:ident, $value:expr, bytes($limit:expr)) => {
        $writer.bytes(&$value)
    };
    ($writer:ident, $value:expr, list($limit:expr)) => {
        crate::field::put_list($writer, &$value)
    };
}

macro_rules! take_field {
    ($reader:ident, $body:ident) => {
        crate::field::Field::take($reader, $body)?
    };
    ($reader:ident, $body:ident, text($limit:expr)) => {{
        let _: &bytes::Bytes = $body;
        crate::field::take_text($reader, $limit)?
    }};
    ($reader:ident, $body:ident, bytes($limit:expr)) => {{
        let _: &bytes::Bytes = $body;
        crate::field::take_bytes($reader, $limit)?
    }};
    ($reader:ident, $body:ident, list($limit:expr)) => {
        crate::field::take_list($reader, $body, $limit)?
    };
}

/// Implements [`Field`] for an enum without data: one byte each.
macro_rules! codes {
    ($name:ident, $what:literal { $($variant:ident = $code:literal),* $(,)? }) => {
        impl $name {
            #[must_use]
            pub fn code(self) -> u8 {
                match self { $( Self::$variant => $code, )* }
            }

            #[must_use]
            pub fn from_code(code: u8) -> Option<Self> {
                match code {
                    $( $code => Some(Self::$variant), )*
                    _ => None,
                }
            }
        }

        impl crate::field::Field for $name {
            fn put(&self, writer: &mut keelhold_chunk::Writer) {
                writer.u8(self.code());
            }

            fn take(
                reader: &mut keelhold_chunk::Reader<'_>,
                _body: &bytes::Bytes,
            ) -> Result<Self, keelhold_chunk::DecodeError> {
                let code = reader.u8()?;
                Self::from_code(code).ok_or_else(|| reader.undefined($what, u64::from(code)))
            }
        }
    };
}

pub(crate) use {codes, fields, put_field, take_field};
