//! From a PNG of any size to the grey square the vision experts learnt: 28×28, one byte a pixel.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use anyhow::{Context, ensure};
use png::{ColorType, Decoder, Limits, Transformations};

/// Side of the square in pixels.
pub(crate) const SIDE: usize = 28;
/// Longest side of a picture that is read.
const MAX_SIDE: u32 = 8192;
/// Memory the PNG decoder may take for one picture.
const MAX_DECODER_BYTES: usize = 128 * 1024 * 1024;

/// Reads a PNG, turns it grey (Rec. 601 luma over black where transparent), and averages it down to 28×28.
///
/// A picture that is not square is centred on a square of its own corner brightness.
pub(crate) fn load(path: &Path, invert: bool) -> anyhow::Result<Vec<u8>> {
    let (width, height, grey) = decode(path).with_context(|| format!("cannot use {} as an image", path.display()))?;
    let mut pixels = downscale(width, height, &grey);
    if invert {
        pixels.iter_mut().for_each(|pixel| *pixel = 255 - *pixel);
    }
    Ok(pixels)
}

fn decode(path: &Path) -> anyhow::Result<(usize, usize, Vec<u8>)> {
    let limits = Limits { bytes: MAX_DECODER_BYTES };
    let mut decoder = Decoder::new_with_limits(BufReader::new(File::open(path)?), limits);
    decoder.set_transformations(Transformations::normalize_to_color8());
    let mut reader = decoder.read_info().context("it is no PNG, and nothing else is read")?;
    let (width, height) = (reader.info().width, reader.info().height);
    ensure!(
        (1..=MAX_SIDE).contains(&width) && (1..=MAX_SIDE).contains(&height),
        "it is {width}×{height} pixels; 1 to {MAX_SIDE} a side are read"
    );
    let size = reader.output_buffer_size().context("it is too large for this machine")?;
    let mut buffer = vec![0; size];
    let frame = reader.next_frame(&mut buffer)?;
    let luma = |r: u8, g: u8, b: u8| (u32::from(r) * 299 + u32::from(g) * 587 + u32::from(b) * 114) / 1000;
    let over_black = |value: u32, alpha: u8| (value * u32::from(alpha) / 255) as u8;
    let pixels = &buffer[..frame.buffer_size()];
    let grey: Vec<u8> = match frame.color_type {
        ColorType::Grayscale => pixels.to_vec(),
        ColorType::GrayscaleAlpha => pixels.chunks_exact(2).map(|p| over_black(u32::from(p[0]), p[1])).collect(),
        ColorType::Rgb => pixels.chunks_exact(3).map(|p| luma(p[0], p[1], p[2]) as u8).collect(),
        ColorType::Rgba => pixels.chunks_exact(4).map(|p| over_black(luma(p[0], p[1], p[2]), p[3])).collect(),
        ColorType::Indexed => anyhow::bail!("its palette could not be expanded"),
    };
    let (width, height) = (width as usize, height as usize);
    ensure!(grey.len() == width * height, "its pixels do not fill {width}×{height}");
    Ok((width, height, grey))
}

/// Area average onto the square; each target pixel is the mean of the source area under it.
fn downscale(width: usize, height: usize, grey: &[u8]) -> Vec<u8> {
    let side = width.max(height);
    let (left, top) = ((side - width) / 2, (side - height) / 2);
    let border = f64::from(grey[0]);
    let at = |x: usize, y: usize| match (x.checked_sub(left), y.checked_sub(top)) {
        (Some(x), Some(y)) if x < width && y < height => f64::from(grey[y * width + x]),
        _ => border,
    };
    let scale = side as f64 / SIDE as f64;
    // Source pixels that overlap [from, from + scale), with the length of the overlap.
    let span = |target: usize| {
        let (from, to) = (target as f64 * scale, (target + 1) as f64 * scale);
        let last = (to.ceil() as usize).min(side);
        (from.floor() as usize..last)
            .map(|i| (i, (to.min((i + 1) as f64) - from.max(i as f64)).max(0.0)))
            .collect::<Vec<_>>()
    };
    let spans: Vec<_> = (0..SIDE).map(span).collect();
    let mut pixels = Vec::with_capacity(SIDE * SIDE);
    for rows in &spans {
        for columns in &spans {
            let sum: f64 = rows.iter().map(|&(y, h)| columns.iter().map(|&(x, w)| at(x, y) * w).sum::<f64>() * h).sum();
            pixels.push((sum / (scale * scale)).round().clamp(0.0, 255.0) as u8);
        }
    }
    pixels
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write_png(path: &Path, width: u32, height: u32, color: ColorType, data: &[u8]) {
        let mut encoder = png::Encoder::new(File::create(path).unwrap(), width, height);
        encoder.set_color(color);
        encoder.set_depth(png::BitDepth::Eight);
        encoder.write_header().unwrap().write_image_data(data).unwrap();
    }

    #[test]
    fn a_grey_picture_of_the_right_size_is_taken_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.png");
        let data: Vec<u8> = (0..784).map(|i| (i % 251) as u8).collect();
        write_png(&path, 28, 28, ColorType::Grayscale, &data);
        assert_eq!(load(&path, false).unwrap(), data);
        assert_eq!(load(&path, true).unwrap()[3], 255 - data[3]);
    }

    #[test]
    fn colour_becomes_luma_and_large_pictures_are_averaged() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.png");
        let data: Vec<u8> = (0..56 * 56).flat_map(|_| [200, 100, 50, 255]).collect();
        write_png(&path, 56, 56, ColorType::Rgba, &data);
        assert!(load(&path, false).unwrap().iter().all(|&p| p == 124));
    }

    #[test]
    fn a_wide_picture_is_centred() {
        let mut grey = vec![0; 56 * 28];
        grey[14 * 56 + 28] = 255;
        let pixels = downscale(56, 28, &grey);
        let brightest = (0..784).max_by_key(|&i| pixels[i]).unwrap();
        assert_eq!((brightest / 28, brightest % 28), (14, 14));
    }

    #[test]
    fn what_is_no_png_is_refused_with_its_name() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.png");
        std::fs::write(&path, b"hello").unwrap();
        let error = format!("{:#}", load(&path, false).unwrap_err());
        assert!(error.contains("a.png"), "{error}");
    }
}
