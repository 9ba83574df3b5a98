//! `config.json`, field by field.

use super::rope::{Llama3, Rope};
use super::{Config, Unsupported};
use crate::json::{JsonError, Reader};

const MAX_WIDTH: u32 = 1 << 17;
const MAX_BLOCKS: u32 = 1024;
const MAX_VOCABULARY: u32 = 1 << 20;
const MAX_HEAD_DIM: u32 = 1024;
const MAX_END_TOKENS: usize = 64;
/// Characters of a field's name that an error shows.
const MAX_SHOWN_NAME: usize = 64;

#[derive(Default)]
struct Fields {
    model_type: Option<String>,
    hidden_size: Option<u32>,
    intermediate_size: Option<u32>,
    num_hidden_layers: Option<u32>,
    num_attention_heads: Option<u32>,
    num_key_value_heads: Option<u32>,
    head_dim: Option<u32>,
    vocab_size: Option<u32>,
    max_position_embeddings: Option<u32>,
    rms_norm_eps: Option<f64>,
    rope_theta: Option<f64>,
    rope: RopeFields,
    tie_word_embeddings: Option<bool>,
    attention_bias: Option<bool>,
    mlp_bias: Option<bool>,
    hidden_act: Option<String>,
    sliding_window: Option<Option<u32>>,
    use_sliding_window: Option<bool>,
    layer_types: Vec<String>,
    partial_rotary_factor: Option<f64>,
    quantized: bool,
    end_tokens: Vec<u32>,
}

#[derive(Default)]
struct RopeFields {
    rope_type: Option<String>,
    theta: Option<f64>,
    factor: Option<f64>,
    low_freq_factor: Option<f64>,
    high_freq_factor: Option<f64>,
    original_positions: Option<f64>,
    partial_rotary_factor: Option<f64>,
}

fn optional<'a, T>(
    reader: &mut Reader<'a>,
    read: impl FnOnce(&mut Reader<'a>) -> Result<T, JsonError>,
) -> Result<Option<T>, JsonError> {
    if reader.null() { Ok(None) } else { read(reader).map(Some) }
}

fn text(reader: &mut Reader<'_>) -> Result<Option<String>, JsonError> {
    optional(reader, |reader| reader.string().map(Into::into))
}

fn unsigned(reader: &mut Reader<'_>) -> Result<Option<u32>, JsonError> {
    optional(reader, Reader::unsigned)
}

fn number(reader: &mut Reader<'_>) -> Result<Option<f64>, JsonError> {
    optional(reader, Reader::number)
}

fn boolean(reader: &mut Reader<'_>) -> Result<Option<bool>, JsonError> {
    optional(reader, Reader::boolean)
}

impl Fields {
    fn read(bytes: &[u8]) -> Result<Self, Unsupported> {
        let mut fields = Self::default();
        let mut reader = Reader::new(bytes)?;
        reader.object(|key, reader| {
            let name = || key.chars().take(MAX_SHOWN_NAME).collect();
            fields.member(key, reader).map_err(|error| Unsupported::Field(name(), error))
        })?;
        reader.end()?;
        Ok(fields)
    }

    fn member(&mut self, key: &str, reader: &mut Reader<'_>) -> Result<(), JsonError> {
        match key {
            "model_type" => self.model_type = text(reader)?,
            "hidden_size" => self.hidden_size = unsigned(reader)?,
            "intermediate_size" => self.intermediate_size = unsigned(reader)?,
            "num_hidden_layers" => self.num_hidden_layers = unsigned(reader)?,
            "num_attention_heads" => self.num_attention_heads = unsigned(reader)?,
            "num_key_value_heads" => self.num_key_value_heads = unsigned(reader)?,
            "head_dim" => self.head_dim = unsigned(reader)?,
            "vocab_size" => self.vocab_size = unsigned(reader)?,
            "max_position_embeddings" => self.max_position_embeddings = unsigned(reader)?,
            "rms_norm_eps" => self.rms_norm_eps = number(reader)?,
            "rope_theta" => self.rope_theta = number(reader)?,
            "rope_scaling" | "rope_parameters" => self.rope.read(reader)?,
            "tie_word_embeddings" => self.tie_word_embeddings = boolean(reader)?,
            "attention_bias" => self.attention_bias = boolean(reader)?,
            "mlp_bias" => self.mlp_bias = boolean(reader)?,
            "hidden_act" => self.hidden_act = text(reader)?,
            "sliding_window" => self.sliding_window = Some(unsigned(reader)?),
            "use_sliding_window" => self.use_sliding_window = boolean(reader)?,
            "partial_rotary_factor" => self.partial_rotary_factor = number(reader)?,
            "layer_types" if reader.peek() == b'[' => {
                reader.array(|reader| {
                    self.layer_types.push(reader.string()?.into());
                    Ok::<_, JsonError>(())
                })?;
            }
            "eos_token_id" if reader.peek() == b'[' => {
                reader.array(|reader| {
                    self.end_tokens.push(reader.unsigned()?);
                    Ok::<_, JsonError>(())
                })?;
            }
            "eos_token_id" => self.end_tokens.extend(unsigned(reader)?),
            "quantization_config" => {
                self.quantized = !reader.null();
                if self.quantized {
                    reader.skip()?;
                }
            }
            _ => reader.skip()?,
        }
        Ok(())
    }
}

impl RopeFields {
    fn read(&mut self, reader: &mut Reader<'_>) -> Result<(), JsonError> {
        if reader.null() {
            return Ok(());
        }
        reader.object(|key, reader| {
            match key {
                "rope_type" | "type" => self.rope_type = text(reader)?,
                "rope_theta" => self.theta = number(reader)?,
                "factor" => self.factor = number(reader)?,
                "low_freq_factor" => self.low_freq_factor = number(reader)?,
                "high_freq_factor" => self.high_freq_factor = number(reader)?,
                "original_max_position_embeddings" => self.original_positions = number(reader)?,
                "partial_rotary_factor" => self.partial_rotary_factor = number(reader)?,
                _ => reader.skip()?,
            }
            Ok(())
        })
    }

    fn rope(&self, theta: Option<f64>) -> Result<Rope, Unsupported> {
        let theta = self.theta.or(theta).unwrap_or(10_000.0);
        if theta.is_nan() || theta < 1.0 {
            return Err(Unsupported::Size("rope_theta is below 1".into()));
        }
        let llama3 = match self.rope_type.as_deref() {
            None | Some("default") => None,
            Some("llama3") => Some(self.llama3()?),
            Some(other) => return Err(Unsupported::Feature(format!("rope_type {other}"))),
        };
        Ok(Rope { theta, llama3 })
    }

    fn llama3(&self) -> Result<Llama3, Unsupported> {
        let positive = |value: Option<f64>, name| match value {
            Some(value) if value > 0.0 => Ok(value),
            Some(_) => Err(Unsupported::Size(format!("{name} is not positive"))),
            None => Err(Unsupported::Missing(name)),
        };
        let found = Llama3 {
            factor: positive(self.factor, "factor")?,
            low_frequency_factor: positive(self.low_freq_factor, "low_freq_factor")?,
            high_frequency_factor: positive(self.high_freq_factor, "high_freq_factor")?,
            original_positions: positive(
                self.original_positions,
                "original_max_position_embeddings",
            )?,
        };
        if found.high_frequency_factor <= found.low_frequency_factor {
            let what = "high_freq_factor is not above low_freq_factor";
            return Err(Unsupported::Size(what.into()));
        }
        Ok(found)
    }
}

fn required(value: Option<u32>, name: &'static str, greatest: u32) -> Result<usize, Unsupported> {
    let value = value.ok_or(Unsupported::Missing(name))?;
    if value == 0 || value > greatest {
        return Err(Unsupported::Size(format!("{name} {value} is not from 1 to {greatest}")));
    }
    Ok(value as usize)
}

fn refuse(condition: bool, what: impl Into<String>) -> Result<(), Unsupported> {
    if condition { Err(Unsupported::Feature(what.into())) } else { Ok(()) }
}

pub(super) fn parse(bytes: &[u8]) -> Result<Config, Unsupported> {
    let fields = Fields::read(bytes)?;
    let model_type = fields.model_type.as_deref().ok_or(Unsupported::Missing("model_type"))?;
    let known = ["llama", "mistral", "qwen2", "qwen3"].contains(&model_type);
    refuse(!known, format!("model_type {model_type}"))?;
    refuse_variants(&fields, model_type)?;
    let hidden = required(fields.hidden_size, "hidden_size", MAX_WIDTH)?;
    let heads = required(fields.num_attention_heads, "num_attention_heads", MAX_WIDTH)?;
    let kv_heads = match fields.num_key_value_heads {
        None => heads,
        given => required(given, "num_key_value_heads", MAX_WIDTH)?,
    };
    let head_dim = match fields.head_dim {
        None if model_type == "qwen3" => 128,
        None => hidden / heads,
        given => required(given, "head_dim", MAX_HEAD_DIM)?,
    };
    let config = Config {
        hidden,
        intermediate: required(fields.intermediate_size, "intermediate_size", MAX_WIDTH)?,
        blocks: required(fields.num_hidden_layers, "num_hidden_layers", MAX_BLOCKS)?,
        heads,
        kv_heads,
        head_dim,
        vocabulary: required(fields.vocab_size, "vocab_size", MAX_VOCABULARY)?,
        positions: fields.max_position_embeddings.unwrap_or(2048) as usize,
        norm_epsilon: fields.rms_norm_eps.unwrap_or(1e-6) as f32,
        rope: fields.rope.rope(fields.rope_theta)?,
        tied: fields.tie_word_embeddings.unwrap_or(false),
        qkv_bias: model_type == "qwen2",
        qk_norm: model_type == "qwen3",
        end_tokens: fields.end_tokens,
    };
    check_sizes(&config)?;
    Ok(config)
}

fn refuse_variants(fields: &Fields, model_type: &str) -> Result<(), Unsupported> {
    let act = fields.hidden_act.as_deref().unwrap_or("silu");
    refuse(act != "silu", format!("hidden_act {act}"))?;
    refuse(fields.quantized, "quantization_config")?;
    refuse(fields.attention_bias == Some(true), "attention_bias")?;
    refuse(fields.mlp_bias == Some(true), "mlp_bias")?;
    refuse(fields.use_sliding_window == Some(true), "use_sliding_window")?;
    // Mistral's default is a window of 4096 positions, which only null switches off.
    let sliding = model_type == "mistral" && fields.sliding_window != Some(None);
    refuse(sliding, "sliding_window")?;
    let other = fields.layer_types.iter().find(|kind| *kind != "full_attention");
    refuse(other.is_some(), format!("layer_types {}", other.map_or("", String::as_str)))?;
    let partial = [fields.partial_rotary_factor, fields.rope.partial_rotary_factor];
    refuse(partial.into_iter().flatten().any(|factor| factor != 1.0), "partial_rotary_factor")
}

fn check_sizes(config: &Config) -> Result<(), Unsupported> {
    let wrong = |what: &str| Err(Unsupported::Size(what.into()));
    if !config.heads.is_multiple_of(config.kv_heads) {
        return wrong("num_attention_heads is not a multiple of num_key_value_heads");
    }
    if config.head_dim == 0 || !config.head_dim.is_multiple_of(4) {
        return wrong("head_dim is not a multiple of 4");
    }
    if config.query_width() > MAX_WIDTH as usize {
        return wrong("num_attention_heads times head_dim is too large");
    }
    if config.positions == 0 {
        return wrong("max_position_embeddings is 0");
    }
    if !(config.norm_epsilon > 0.0 && config.norm_epsilon < 1.0) {
        return wrong("rms_norm_eps is not between 0 and 1");
    }
    if config.end_tokens.len() > MAX_END_TOKENS {
        return wrong("eos_token_id lists too many tokens");
    }
    if config.end_tokens.iter().any(|token| *token as usize >= config.vocabulary) {
        return wrong("eos_token_id is not below vocab_size");
    }
    Ok(())
}
