//! QUIC application error codes of the data plane. Numbers are never reused.
//!
//! A refusal is not among them: it is a frame, and the connection lives on.

/// Connection or stream ends in order.
pub const DONE: u32 = 0;
/// This peer stops.
pub const SHUTDOWN: u32 = 1;
/// The bytes were not a frame, or not the frame that may stand here.
pub const MALFORMED: u32 = 2;
/// The caller no longer wants the answer: it resets its side and stops the other; the expert drops the work.
pub const CANCELLED: u32 = 3;
/// More connections or streams than this peer gives to one caller.
pub const TOO_MANY: u32 = 4;
/// The other side is shut out for misbehaviour.
pub const BANNED: u32 = 5;
/// The work on this stream broke without an answer.
pub const FAILED: u32 = 6;
/// The other side acknowledged nothing for too long.
pub const SILENT: u32 = 7;
