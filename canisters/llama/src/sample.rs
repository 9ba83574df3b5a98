//! Choosing the next token.

use crate::simd::F32x4;

/// Return the token of the greatest logit; the first of several.
pub fn greedy(logits: &[f32]) -> u32 {
    let (fours, rest) = logits.as_chunks::<4>();
    let lowest = F32x4::splat(f32::NEG_INFINITY);
    let best = fours.iter().fold(lowest, |best, four| best.pmax(F32x4::load(four))).max();
    let best = rest.iter().fold(best, |best, &logit| if logit > best { logit } else { best });
    logits.iter().position(|&logit| logit == best).unwrap_or(0) as u32
}

/// Draws tokens by their probability; the same seed draws the same tokens.
#[derive(Clone, Debug)]
pub struct Sampler {
    temperature: f32,
    state: u64,
}

impl Sampler {
    /// Sample at a temperature. At 0 or below, and at NaN, the greatest logit always wins.
    pub fn new(temperature: f32, seed: u64) -> Self {
        Self { temperature, state: seed }
    }

    /// Return the temperature.
    pub fn temperature(&self) -> f32 {
        self.temperature
    }

    /// Return the state: a sampler with this as its seed continues.
    pub fn state(&self) -> u64 {
        self.state
    }

    /// Continue where another sampler of this temperature is.
    pub fn set_state(&mut self, state: u64) {
        self.state = state;
    }

    /// Choose the next token.
    pub fn next(&mut self, logits: &[f32]) -> u32 {
        if self.temperature.is_nan() || self.temperature <= 0.0 {
            return greedy(logits);
        }
        let (greatest, temperature) = (logits[greedy(logits) as usize], self.temperature);
        let weights = logits.iter().map(|logit| {
            let weight = f64::from((logit - greatest) / temperature).exp();
            if weight.is_nan() { 0.0 } else { weight }
        });
        let mut left = self.uniform() * weights.clone().sum::<f64>();
        for (token, weight) in weights.enumerate() {
            left -= weight;
            if left < 0.0 {
                return token as u32;
            }
        }
        greedy(logits)
    }

    /// Draw from 0 to 1 (SplitMix64).
    fn uniform(&mut self) -> f64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::{Sampler, greedy};

    #[test]
    fn greedy_takes_the_first_of_equals() {
        assert_eq!(greedy(&[1.0, 3.0, f32::NAN, 3.0]), 1);
    }

    #[test]
    fn sampler_repeats_with_its_seed_and_follows_probabilities() {
        let logits = [0.0, 2.0_f32.ln(), f32::NEG_INFINITY, 1.0_f32.ln()];
        let draw = |seed| {
            let mut sampler = Sampler::new(1.0, seed);
            (0..4000).map(|_| sampler.next(&logits)).collect::<Vec<_>>()
        };
        let drawn = draw(7);
        assert_eq!(drawn, draw(7));
        assert_ne!(drawn, draw(8));
        let mut first = Sampler::new(1.0, 7);
        let half: Vec<_> = (0..2000).map(|_| first.next(&logits)).collect();
        let mut second = Sampler::new(first.temperature(), 0);
        second.set_state(first.state());
        let rest = (0..2000).map(|_| second.next(&logits));
        assert_eq!(half.into_iter().chain(rest).collect::<Vec<_>>(), drawn);
        let count = |token| drawn.iter().filter(|&&each| each == token).count();
        assert!((1900..2100).contains(&count(1)) && count(2) == 0, "{}", count(1));
        assert_eq!(Sampler::new(0.0, 1).next(&logits), 1);
    }
}
