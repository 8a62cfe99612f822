//! Decoding into lists, texts and bytes whose length is checked before memory is taken for it.
//!
//! A derived `Deserialize` believes the announced length of a list or text and takes memory for it at once (serde up
//! to 1 MiB per list, bincode up to its whole limit per text). Every list and text of a wire type comes through here.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserialize, Deserializer, Error, SeqAccess, Visitor};
use serde::ser::Serializer;

use crate::limits::MAX_TEXT;

/// Memory taken for a list on the word of its announced length alone; beyond it the list grows as elements arrive.
const TRUSTED_BYTES: usize = 4096;

/// A list of at most `MAX` elements.
pub(crate) fn vec<'de, D: Deserializer<'de>, T: Deserialize<'de>, const MAX: usize>(d: D) -> Result<Vec<T>, D::Error> {
    struct List<T, const MAX: usize>(PhantomData<T>);

    impl<'de, T: Deserialize<'de>, const MAX: usize> Visitor<'de> for List<T, MAX> {
        type Value = Vec<T>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "a list of at most {MAX} elements")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Vec<T>, A::Error> {
            let announced = seq.size_hint().unwrap_or(0);
            if announced > MAX {
                return Err(A::Error::invalid_length(announced, &self));
            }
            let mut list = Vec::with_capacity(announced.min(TRUSTED_BYTES / size_of::<T>().max(1)));
            while let Some(element) = seq.next_element()? {
                if list.len() == MAX {
                    return Err(A::Error::invalid_length(MAX + 1, &self));
                }
                list.push(element);
            }
            Ok(list)
        }
    }

    d.deserialize_seq(List::<T, MAX>(PhantomData))
}

/// A text of at most `MAX` bytes that passes `check`; looked at where it lies, copied only when it fits.
struct Text<const MAX: usize>;

impl<const MAX: usize> Visitor<'_> for Text<MAX> {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a text of at most {MAX} bytes without control characters")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<String, E> {
        if text.len() > MAX {
            return Err(E::invalid_length(text.len(), &self));
        }
        if text.chars().any(is_hostile) {
            return Err(E::custom("a text has control characters"));
        }
        Ok(text.to_owned())
    }
}

/// A text of at most `MAX` bytes, no control characters.
pub(crate) fn text_of<'de, D: Deserializer<'de>, const MAX: usize>(d: D) -> Result<String, D::Error> {
    d.deserialize_str(Text::<MAX>)
}

/// A text of at most [`MAX_TEXT`] bytes, no control characters.
pub(crate) fn text<'de, D: Deserializer<'de>>(d: D) -> Result<String, D::Error> {
    text_of::<D, MAX_TEXT>(d)
}

/// A list of at most `MAX` such texts.
pub(crate) fn texts<'de, D: Deserializer<'de>, const MAX: usize>(d: D) -> Result<Vec<String>, D::Error> {
    struct One(String);

    impl<'de> Deserialize<'de> for One {
        fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
            text(d).map(Self)
        }
    }

    // In place: `One` is a `String`, so the collection reuses the list's memory.
    Ok(vec::<D, One, MAX>(d)?.into_iter().map(|one| one.0).collect())
}

/// At most `MAX` raw bytes; looked at where they lie, copied only when they fit. Pairs with [`write_bytes`].
pub(crate) fn bytes<'de, D: Deserializer<'de>, const MAX: usize>(d: D) -> Result<Vec<u8>, D::Error> {
    struct Raw<const MAX: usize>;

    impl<'de, const MAX: usize> Visitor<'de> for Raw<MAX> {
        type Value = Vec<u8>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "at most {MAX} bytes")
        }

        fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Vec<u8>, E> {
            if bytes.len() > MAX {
                return Err(E::invalid_length(bytes.len(), &self));
            }
            Ok(bytes.to_vec())
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Vec<u8>, A::Error> {
            let mut list = Vec::new();
            while let Some(byte) = seq.next_element()? {
                if list.len() == MAX {
                    return Err(A::Error::invalid_length(MAX + 1, &self));
                }
                list.push(byte);
            }
            Ok(list)
        }
    }

    d.deserialize_bytes(Raw::<MAX>)
}

/// Writes raw bytes: their count, then the bytes.
pub(crate) fn write_bytes<S: Serializer>(bytes: &[u8], s: S) -> Result<S::Ok, S::Error> {
    s.serialize_bytes(bytes)
}

/// Writes a reason given to a peer. What does not fit is cut, and control characters become spaces, so that a long
/// message never stops a refusal from being sent.
pub(crate) fn write_reason<S: Serializer>(reason: &str, s: S) -> Result<S::Ok, S::Error> {
    if is_text(reason) { s.serialize_str(reason) } else { s.serialize_str(&cut(reason)) }
}

fn cut(text: &str) -> String {
    let mut short = String::new();
    for c in text.chars().map(|c| if is_hostile(c) { ' ' } else { c }) {
        if short.len() + c.len_utf8() > MAX_TEXT {
            break;
        }
        short.push(c);
    }
    short
}

/// Whether `text` may travel as a text.
pub(crate) fn is_text(text: &str) -> bool {
    text.len() <= MAX_TEXT && !text.chars().any(is_hostile)
}

/// Characters that could rewrite a terminal or turn a line around: controls, line separators, direction overrides.
fn is_hostile(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}
