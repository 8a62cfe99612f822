//! Domains: other ways of showing the same picture. Its class stays, its pixels change.
//!
//! A domain turns the picture by quarter turns, may swap light and dark, and may lay noise over it. Everything is
//! integer arithmetic from a seed, so that the same image comes out on every machine. Some pictures of two domains are
//! the same to anybody: a 6 upside down is a 9.

use std::fmt;

use bytes::BytesMut;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

use super::{CLASSES, PIXELS, SIDE, Split};

/// One way of showing pictures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Domain {
    /// Quarter turns, clockwise, 0 to 3.
    turns: u8,
    /// Light and dark swapped.
    inverted: bool,
    /// Each pixel moved by a random amount, by 55 of 255 on average (root mean square), and cut to what a byte holds.
    noisy: bool,
}

impl Domain {
    /// The domains of a subnet that has domains, in order; their numbers are positions in this list.
    pub const ALL: [Self; 8] = [
        Self { turns: 0, inverted: false, noisy: false },
        Self { turns: 1, inverted: false, noisy: false },
        Self { turns: 2, inverted: false, noisy: false },
        Self { turns: 3, inverted: false, noisy: false },
        Self { turns: 0, inverted: true, noisy: false },
        Self { turns: 0, inverted: false, noisy: true },
        Self { turns: 1, inverted: true, noisy: false },
        Self { turns: 2, inverted: false, noisy: true },
    ];

    /// The domain that changes nothing.
    pub const PLAIN: Self = Self::ALL[0];

    /// The domain of that name, e.g. `turned-90` or `inverted-turned-90`.
    pub fn by_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|domain| domain.to_string() == name)
    }

    /// The picture `pixels` (28×28, row by row) as this domain shows it; `noise` is drawn from only when the domain is
    /// noisy.
    fn show(self, pixels: &[u8], noise: &mut ChaCha8Rng) -> [u8; PIXELS] {
        const LAST: usize = SIDE - 1;
        let mut shown = [0; PIXELS];
        for (place, out) in shown.iter_mut().enumerate() {
            let (row, column) = (place / SIDE, place % SIDE);
            let (from_row, from_column) = match self.turns % 4 {
                0 => (row, column),
                1 => (LAST - column, row),
                2 => (LAST - row, LAST - column),
                _ => (column, LAST - row),
            };
            let mut value = pixels[from_row * SIDE + from_column];
            if self.inverted {
                value = 255 - value;
            }
            if self.noisy {
                value = disturb(value, noise.next_u32());
            }
            *out = value;
        }
        shown
    }
}

/// Four random bytes, summed and centred, are nearly normal with a standard deviation of 147.8; three eighths of it.
fn disturb(value: u8, random: u32) -> u8 {
    let sum: i32 = random.to_le_bytes().iter().map(|&byte| i32::from(byte)).sum();
    (i32::from(value) + (sum - 510) * 3 / 8).clamp(0, 255) as u8
}

impl fmt::Display for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let turned = ["", "turned-90", "turned-180", "turned-270"][usize::from(self.turns % 4)];
        let words = [if self.inverted { "inverted" } else { "" }, if self.noisy { "noisy" } else { "" }, turned];
        let words: Vec<&str> = words.into_iter().filter(|word| !word.is_empty()).collect();
        if words.is_empty() { f.write_str("plain") } else { f.write_str(&words.join("-")) }
    }
}

impl Split {
    /// A domain for each image, drawn by `seed`: the images of each class are dealt evenly among
    /// [`Domain::ALL`]. Numbers are positions in that list.
    pub fn deal_domains(&self, seed: u64) -> Vec<u8> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        // Apart from the streams that noise is drawn from.
        rng.set_stream(u64::MAX);
        let mut domains = vec![0; self.len()];
        let mut dealt = 0;
        for class in 0..CLASSES as u8 {
            let mut members = self.of_class(class);
            members.shuffle(&mut rng);
            for index in members {
                domains[index] = (dealt % Domain::ALL.len()) as u8;
                dealt += 1;
            }
        }
        domains
    }

    /// The same images, each shown in its domain; `seed` draws the noise. An image without a number, or with a number
    /// that is none of [`Domain::ALL`], stays as it is.
    pub fn shown_in(&self, domains: &[u8], seed: u64) -> Self {
        let mut pixels = BytesMut::with_capacity(self.pixels().len());
        for (index, example) in self.iter().enumerate() {
            let domain = domains.get(index).and_then(|&number| Domain::ALL.get(usize::from(number)));
            let mut noise = ChaCha8Rng::seed_from_u64(seed);
            noise.set_stream(index as u64);
            let shown = domain.copied().unwrap_or(Domain::PLAIN).show(example.pixels, &mut noise);
            pixels.extend_from_slice(&shown);
        }
        Self::new(pixels.freeze(), self.classes().to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn show(domain: Domain, pixels: &[u8]) -> Vec<u8> {
        domain.show(pixels, &mut ChaCha8Rng::seed_from_u64(1)).to_vec()
    }

    /// A picture whose pixels all differ from their neighbours.
    fn picture() -> Vec<u8> {
        (0..PIXELS).map(|i| (i * 37 % 251) as u8).collect()
    }

    #[test]
    fn names_are_read_and_written_and_differ() {
        let names: Vec<String> = Domain::ALL.iter().map(Domain::to_string).collect();
        assert_eq!(names[0], "plain");
        assert_eq!(names[6], "inverted-turned-90");
        for (index, name) in names.iter().enumerate() {
            assert_eq!(Domain::by_name(name), Some(Domain::ALL[index]), "{name}");
        }
        assert_eq!(Domain::by_name("upside-down"), None);
    }

    #[test]
    fn four_quarter_turns_and_two_inversions_change_nothing() {
        let (quarter, inverted) = (Domain::by_name("turned-90").unwrap(), Domain::by_name("inverted").unwrap());
        let mut turned = picture();
        for _ in 0..4 {
            turned = show(quarter, &turned);
        }
        assert_eq!(turned, picture());
        assert_eq!(show(inverted, &show(inverted, &picture())), picture());
        // The top left corner goes to the top right.
        let mut corner = vec![0; PIXELS];
        corner[0] = 9;
        assert_eq!(show(quarter, &corner)[SIDE - 1], 9);
        assert_eq!(show(Domain::by_name("turned-180").unwrap(), &corner)[PIXELS - 1], 9);
        assert_eq!(show(Domain::by_name("turned-270").unwrap(), &corner)[PIXELS - SIDE], 9);
    }

    #[test]
    fn noise_is_as_strong_as_it_says_and_has_no_bias() {
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        let moved: Vec<f64> = (0..50_000).map(|_| f64::from(disturb(128, rng.next_u32())) - 128.0).collect();
        let mean = moved.iter().sum::<f64>() / moved.len() as f64;
        let deviation = (moved.iter().map(|m| m * m).sum::<f64>() / moved.len() as f64).sqrt();
        assert!(mean.abs() < 1.0, "{mean}");
        assert!((52.0..58.0).contains(&deviation), "{deviation}");
    }
}
