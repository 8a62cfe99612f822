//! Printing that survives a closed pipe (`glia … | head -1`).

use std::fmt;
use std::io::{ErrorKind, Write};

/// Prints one line on standard output; leaves quietly when nobody reads any more.
pub(crate) fn line(text: fmt::Arguments<'_>) {
    if let Err(error) = writeln!(std::io::stdout().lock(), "{text}") {
        let status = if error.kind() == ErrorKind::BrokenPipe { 0 } else { 1 };
        std::process::exit(status);
    }
}

/// `println!` for people who pipe.
macro_rules! say {
    ($($text:tt)*) => { $crate::output::line(format_args!($($text)*)) };
}
pub(crate) use say;
