//! The IDX format of unsigned bytes, gzipped: a magic number, big-endian dimensions, raw bytes.

use std::io::{self, Read};

use flate2::read::GzDecoder;

/// An array of unsigned bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdxArray {
    /// Dimensions, slowest first (1 to 3 of them).
    pub shape: Vec<usize>,
    /// Row-major bytes, as many as the shape says.
    pub data: Vec<u8>,
}

/// Why bytes are not a gzipped IDX file.
#[derive(Debug, thiserror::Error)]
pub enum IdxError {
    /// Not gzip, or shorter than its header says.
    #[error("cannot be read: {0}")]
    Read(#[from] io::Error),
    /// Not IDX, or not of unsigned bytes in 1 to 3 dimensions.
    #[error("not an IDX file of unsigned bytes (magic number {0:#010x})")]
    Magic(u32),
    /// Larger than allowed.
    #[error("shape {shape:?} is more than {limit} bytes")]
    TooLarge {
        /// The shape in the header.
        shape: Vec<usize>,
        /// The limit in bytes.
        limit: usize,
    },
    /// Longer than its header says.
    #[error("bytes after the end of the data")]
    Trailing,
}

/// Reads a gzipped IDX file of at most `limit` bytes of data; refuses before it allocates.
pub fn read_gzip(bytes: &[u8], limit: usize) -> Result<IdxArray, IdxError> {
    let mut reader = GzDecoder::new(bytes);
    let magic = read_u32(&mut reader)?;
    let rank = magic & 0xff;
    if magic >> 8 != 0x08 || !(1..=3).contains(&rank) {
        return Err(IdxError::Magic(magic));
    }
    let mut shape = Vec::with_capacity(3);
    for _ in 0..rank {
        shape.push(read_u32(&mut reader)? as usize);
    }
    let length = shape.iter().try_fold(1usize, |n, &dim| n.checked_mul(dim)).filter(|&n| n <= limit);
    let Some(length) = length else {
        return Err(IdxError::TooLarge { shape, limit });
    };
    let mut data = vec![0; length];
    reader.read_exact(&mut data)?;
    if reader.read(&mut [0])? != 0 {
        return Err(IdxError::Trailing);
    }
    Ok(IdxArray { shape, data })
}

fn read_u32(reader: &mut impl Read) -> io::Result<u32> {
    let mut bytes = [0; 4];
    reader.read_exact(&mut bytes)?;
    Ok(u32::from_be_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn file(shape: &[u32], data: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0, 0, 8, shape.len() as u8];
        bytes.extend(shape.iter().flat_map(|d| d.to_be_bytes()));
        bytes.extend_from_slice(data);
        gzip(&bytes)
    }

    #[test]
    fn what_was_written_is_read() {
        let array = read_gzip(&file(&[2, 1, 3], &[1, 2, 3, 4, 5, 6]), 100).unwrap();
        assert_eq!(array, IdxArray { shape: vec![2, 1, 3], data: vec![1, 2, 3, 4, 5, 6] });
    }

    #[test]
    fn lies_about_length_are_refused() {
        assert!(matches!(read_gzip(&file(&[7], &[0; 6]), 100), Err(IdxError::Read(_))));
        assert!(matches!(read_gzip(&file(&[5], &[0; 6]), 100), Err(IdxError::Trailing)));
        assert!(matches!(read_gzip(&file(&[101], &[0; 101]), 100), Err(IdxError::TooLarge { .. })));
        let huge = file(&[u32::MAX, u32::MAX, u32::MAX], &[]);
        assert!(matches!(read_gzip(&huge, usize::MAX), Err(IdxError::TooLarge { .. })));
    }

    #[test]
    fn other_files_are_refused() {
        assert!(matches!(read_gzip(b"hello", 100), Err(IdxError::Read(_))));
        assert!(matches!(read_gzip(&gzip(b"hello world"), 100), Err(IdxError::Magic(_))));
        assert!(matches!(read_gzip(&gzip(&[0, 0, 13, 1, 0, 0, 0, 0]), 100), Err(IdxError::Magic(_))));
    }
}
