//! Rotary position embedding: the frequency of each pair of elements.

use std::f64::consts::TAU;

/// How frequencies are made.
#[derive(Clone, Debug, PartialEq)]
pub struct Rope {
    /// Base of the frequencies.
    pub theta: f64,
    /// Stretch of long wavelengths (Llama 3.1).
    pub llama3: Option<Llama3>,
}

/// Parameters of `rope_type` llama3.
#[derive(Clone, Debug, PartialEq)]
pub struct Llama3 {
    /// Divides the frequencies of long wavelengths.
    pub factor: f64,
    /// Wavelengths above the original positions / this are stretched in full.
    pub low_frequency_factor: f64,
    /// Wavelengths below the original positions / this stay.
    pub high_frequency_factor: f64,
    /// Positions that the model was trained on first.
    pub original_positions: f64,
}

impl Rope {
    /// Return the angle a position of each pair of elements of a head.
    pub fn frequencies(&self, head_dim: usize) -> Vec<f64> {
        (0..head_dim / 2)
            .map(|pair| {
                let frequency = self.theta.powf(-(2.0 * pair as f64) / head_dim as f64);
                self.llama3.as_ref().map_or(frequency, |stretch| stretch.apply(frequency))
            })
            .collect()
    }
}

impl Llama3 {
    fn apply(&self, frequency: f64) -> f64 {
        let turns = self.original_positions * frequency / TAU;
        if turns < self.low_frequency_factor {
            return frequency / self.factor;
        }
        if turns > self.high_frequency_factor {
            return frequency;
        }
        let span = self.high_frequency_factor - self.low_frequency_factor;
        let smooth = (turns - self.low_frequency_factor) / span;
        (1.0 - smooth) * frequency / self.factor + smooth * frequency
    }
}
