//! Two ways uphill: Adam for many parameters, golden section for one.

/// Minimum of a one-humped function by golden section.
pub(super) fn golden(f: impl Fn(f32) -> f32, low: f32, high: f32) -> f32 {
    const RATIO: f32 = 0.618_034;
    let (mut low, mut high) = (low, high);
    let (mut a, mut b) = (high - RATIO * (high - low), low + RATIO * (high - low));
    let (mut fa, mut fb) = (f(a), f(b));
    for _ in 0..16 {
        if fa <= fb {
            (high, b, fb) = (b, a, fa);
            a = high - RATIO * (high - low);
            fa = f(a);
        } else {
            (low, a, fa) = (a, b, fb);
            b = low + RATIO * (high - low);
            fb = f(b);
        }
    }
    (low + high) / 2.0
}

/// Adam's running moments.
pub(super) struct Adam {
    first: Vec<f32>,
    second: Vec<f32>,
    first_decay: f32,
    second_decay: f32,
}

impl Adam {
    const B1: f32 = 0.9;
    const B2: f32 = 0.99;

    /// Moments of this many parameters, at rest.
    pub(super) fn new(parameters: usize) -> Self {
        Self {
            first: vec![0.0; parameters],
            second: vec![0.0; parameters],
            first_decay: Self::B1,
            second_decay: Self::B2,
        }
    }

    /// How far parameter `at` moves up its gradient.
    pub(super) fn step(&mut self, at: usize, gradient: f32, rate: f32) -> f32 {
        self.first[at] = Self::B1 * self.first[at] + (1.0 - Self::B1) * gradient;
        self.second[at] = Self::B2 * self.second[at] + (1.0 - Self::B2) * gradient * gradient;
        let first = self.first[at] / (1.0 - self.first_decay);
        let second = self.second[at] / (1.0 - self.second_decay);
        rate * first / (second.sqrt() + 1e-6)
    }

    /// All parameters have been stepped once more.
    pub(super) fn advance(&mut self) {
        self.first_decay *= Self::B1;
        self.second_decay *= Self::B2;
    }
}
