//! A split: images side by side in one buffer, and their classes.

use bytes::{Bytes, BytesMut};
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

use super::PIXELS;

/// One labelled image, borrowed from its split.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Example<'a> {
    /// 28×28 grey values, row by row, 0 is background.
    pub pixels: &'a [u8],
    /// Class, 0 to 19.
    pub class: u8,
}

/// Labelled images. Cloning shares the pixels.
#[derive(Debug, Clone)]
pub struct Split {
    pixels: Bytes,
    classes: Vec<u8>,
}

impl Split {
    /// `pixels` holds [`PIXELS`] bytes for each class in `classes`; what does not fit is left out.
    pub(crate) fn new(pixels: Bytes, mut classes: Vec<u8>) -> Self {
        classes.truncate(pixels.len() / PIXELS);
        Self { pixels, classes }
    }

    /// Number of images.
    pub fn len(&self) -> usize {
        self.classes.len()
    }

    /// Whether it has no image.
    pub fn is_empty(&self) -> bool {
        self.classes.is_empty()
    }

    /// Class of each image.
    pub fn classes(&self) -> &[u8] {
        &self.classes
    }

    /// All pixels, image after image.
    pub fn pixels(&self) -> &Bytes {
        &self.pixels
    }

    /// The image at `index`, sharing this split's memory; `None` past the end.
    pub fn image(&self, index: usize) -> Option<Bytes> {
        (index < self.len()).then(|| self.pixels.slice(index * PIXELS..(index + 1) * PIXELS))
    }

    /// The example at `index`.
    pub fn get(&self, index: usize) -> Option<Example<'_>> {
        let class = *self.classes.get(index)?;
        Some(Example { pixels: &self.pixels[index * PIXELS..(index + 1) * PIXELS], class })
    }

    /// All examples in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Example<'_>> {
        self.pixels.chunks_exact(PIXELS).zip(&self.classes).map(|(pixels, &class)| Example { pixels, class })
    }

    /// A new split of the images at `indices`, in that order; indices past the end are left out.
    pub fn select(&self, indices: &[usize]) -> Self {
        let mut pixels = BytesMut::with_capacity(indices.len() * PIXELS);
        let mut classes = Vec::with_capacity(indices.len());
        for example in indices.iter().filter_map(|&index| self.get(index)) {
            pixels.extend_from_slice(example.pixels);
            classes.push(example.class);
        }
        Self { pixels: pixels.freeze(), classes }
    }

    /// Indices of the images of `class`.
    pub fn of_class(&self, class: u8) -> Vec<usize> {
        self.classes.iter().enumerate().filter(|&(_, &c)| c == class).map(|(index, _)| index).collect()
    }

    /// Splits off `per_class` images of each class, chosen by `seed`: what remains, and what was taken.
    ///
    /// An image whose exact pixels were taken is also removed from what remains.
    pub(crate) fn hold_out(&self, classes: usize, per_class: usize, seed: u64) -> (Self, Self) {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut taken = Vec::with_capacity(classes * per_class);
        for class in 0..classes {
            let mut members = self.of_class(class as u8);
            members.shuffle(&mut rng);
            taken.extend(members.into_iter().take(per_class));
        }
        taken.sort_unstable();
        let held = self.select(&taken);
        let content: std::collections::HashSet<&[u8]> = held.iter().map(|example| example.pixels).collect();
        let kept: Vec<usize> = self
            .iter()
            .enumerate()
            .filter(|(_, example)| !content.contains(example.pixels))
            .map(|(index, _)| index)
            .collect();
        let kept = self.select(&kept);
        (kept, held)
    }
}
