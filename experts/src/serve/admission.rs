//! Admission: who may wait. Pure, bounded, fair between callers.

use std::collections::HashMap;

use glia_protocol::{PeerId, Refusal};

/// How many requests may be inside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AdmissionLimits {
    /// Requests waiting or computed, over all callers.
    pub max_queue: u32,
    /// Of one caller.
    pub per_caller: u32,
}

/// The first guess of the time one input takes, before anything was measured.
const FIRST_ITEM_US: f64 = 500.0;
/// Weight of the newest measurement.
const NEWEST: f64 = 0.2;
/// Bounds of the time a refused caller is told to wait.
const RETRY_MS: (f64, f64) = (1.0, 1000.0);

/// Counts what is inside.
#[derive(Debug)]
pub struct Admission {
    limits: AdmissionLimits,
    callers: HashMap<PeerId, u32>,
    requests: u32,
    items: u64,
    item_us: f64,
    closed: bool,
}

impl Admission {
    /// Nobody inside.
    pub fn new(limits: AdmissionLimits) -> Self {
        Self { limits, callers: HashMap::new(), requests: 0, items: 0, item_us: FIRST_ITEM_US, closed: false }
    }

    /// Lets a request of `items` inputs in, or says when to come back. Every success must be followed by one
    /// [`leave`](Self::leave) with the same arguments.
    pub fn admit(&mut self, caller: PeerId, items: u32) -> Result<(), Refusal> {
        let own = self.callers.get(&caller).copied().unwrap_or(0);
        if self.closed || self.requests >= self.limits.max_queue || own >= self.limits.per_caller {
            return Err(Refusal::Busy { retry_after_ms: self.retry_after_ms() });
        }
        self.callers.insert(caller, own + 1);
        self.requests += 1;
        self.items += u64::from(items);
        Ok(())
    }

    /// An admitted request is answered, refused or gone.
    pub fn leave(&mut self, caller: PeerId, items: u32) {
        if let Some(own) = self.callers.get_mut(&caller) {
            *own = own.saturating_sub(1);
            if *own == 0 {
                self.callers.remove(&caller);
            }
        }
        self.requests = self.requests.saturating_sub(1);
        self.items = self.items.saturating_sub(u64::from(items));
    }

    /// A batch of `items` inputs took `micros` microseconds.
    pub fn measured(&mut self, items: u32, micros: u64) {
        if items > 0 {
            self.item_us += NEWEST * (micros as f64 / f64::from(items) - self.item_us);
        }
    }

    /// Lets nobody in from now on.
    pub fn close(&mut self) {
        self.closed = true;
    }

    /// Requests inside.
    pub fn requests(&self) -> u32 {
        self.requests
    }

    /// When what is inside now is likely done.
    fn retry_after_ms(&self) -> u32 {
        let (least, most) = RETRY_MS;
        if self.closed {
            return most as u32;
        }
        (self.items as f64 * self.item_us / 1000.0).clamp(least, most).ceil() as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(n: u8) -> PeerId {
        PeerId([n; 32])
    }

    #[test]
    fn a_full_house_refuses_and_a_place_left_is_given_again() {
        let mut admission = Admission::new(AdmissionLimits { max_queue: 2, per_caller: 2 });
        admission.admit(peer(1), 1).unwrap();
        admission.admit(peer(2), 1).unwrap();
        assert!(matches!(admission.admit(peer(3), 1), Err(Refusal::Busy { .. })));
        admission.leave(peer(1), 1);
        admission.admit(peer(3), 1).unwrap();
        assert_eq!(admission.requests(), 2);
    }

    #[test]
    fn one_caller_cannot_take_every_place() {
        let mut admission = Admission::new(AdmissionLimits { max_queue: 10, per_caller: 3 });
        for _ in 0..3 {
            admission.admit(peer(1), 1).unwrap();
        }
        assert!(matches!(admission.admit(peer(1), 1), Err(Refusal::Busy { .. })));
        admission.admit(peer(2), 1).unwrap();
    }

    #[test]
    fn the_time_to_come_back_follows_queue_and_speed() {
        let mut admission = Admission::new(AdmissionLimits { max_queue: 1, per_caller: 1 });
        admission.admit(peer(1), 100).unwrap();
        for _ in 0..100 {
            admission.measured(10, 20_000);
        }
        let Err(Refusal::Busy { retry_after_ms }) = admission.admit(peer(2), 1) else { panic!("admitted") };
        assert!((195..=205).contains(&retry_after_ms), "100 items of 2 ms, told {retry_after_ms} ms");
    }

    #[test]
    fn memory_does_not_grow_with_callers_that_left() {
        let mut admission = Admission::new(AdmissionLimits { max_queue: 4, per_caller: 4 });
        for n in 0..200 {
            admission.admit(peer(n), 1).unwrap();
            admission.leave(peer(n), 1);
        }
        assert!(admission.callers.is_empty());
    }

    #[test]
    fn after_closing_nobody_gets_in() {
        let mut admission = Admission::new(AdmissionLimits { max_queue: 4, per_caller: 4 });
        admission.close();
        assert_eq!(admission.admit(peer(1), 1), Err(Refusal::Busy { retry_after_ms: 1000 }));
    }
}
