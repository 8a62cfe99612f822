//! Why a tensor connection or stream ends: the protocol's codes in QUIC's form.

use glia_protocol::codes;
use quinn::VarInt;

pub(crate) const DONE: VarInt = VarInt::from_u32(codes::DONE);
pub(crate) const SHUTDOWN: VarInt = VarInt::from_u32(codes::SHUTDOWN);
pub(crate) const MALFORMED: VarInt = VarInt::from_u32(codes::MALFORMED);
pub(crate) const CANCELLED: VarInt = VarInt::from_u32(codes::CANCELLED);
pub(crate) const TOO_MANY: VarInt = VarInt::from_u32(codes::TOO_MANY);
pub(crate) const BANNED: VarInt = VarInt::from_u32(codes::BANNED);
pub(crate) const FAILED: VarInt = VarInt::from_u32(codes::FAILED);
pub(crate) const SILENT: VarInt = VarInt::from_u32(codes::SILENT);

/// The words for a code.
pub(crate) fn name(code: VarInt) -> &'static str {
    match code {
        DONE => "done",
        SHUTDOWN => "the peer stops",
        MALFORMED => "malformed message",
        CANCELLED => "cancelled",
        TOO_MANY => "too many connections",
        BANNED => "banned",
        FAILED => "the expert broke",
        SILENT => "silent",
        _ => "unknown code",
    }
}
