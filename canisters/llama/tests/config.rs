//! `config.json`: what is read, and what is refused with its reason.

use datanode_llama::{Config, Llama3, Rope, Unsupported};

const LLAMA: &str = r#"{
    "model_type": "llama", "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2,
    "num_attention_heads": 4, "vocab_size": 100, "unknown": [{"nested": null}, "\u00e9", -1.5e3]
}"#;

/// Replace or add members.
fn with(changes: &[(&str, &str)]) -> String {
    let mut text = LLAMA.to_string();
    for (name, value) in changes {
        text = text.replacen('{', &format!("{{\"x{name}\": 0,"), 1);
        let end = text.rfind('}').unwrap();
        text.replace_range(end.., &format!(", \"{name}\": {value}}}"));
    }
    text
}

fn parse(changes: &[(&str, &str)]) -> Result<Config, Unsupported> {
    Config::from_json(with(changes).as_bytes())
}

fn feature(changes: &[(&str, &str)]) -> String {
    match parse(changes) {
        Err(Unsupported::Feature(what)) => what,
        other => panic!("{changes:?}: {other:?}"),
    }
}

#[test]
fn defaults_are_those_of_the_architecture() {
    let config = parse(&[]).unwrap();
    assert_eq!((config.heads, config.kv_heads, config.head_dim), (4, 4, 16));
    assert_eq!(config.rope, Rope { theta: 10_000.0, llama3: None });
    assert_eq!((config.positions, config.norm_epsilon), (2048, 1e-6));
    assert!(!config.tied && !config.qkv_bias && !config.qk_norm && config.end_tokens.is_empty());
    let qwen3 = parse(&[("model_type", "\"qwen3\"")]).unwrap();
    assert!(qwen3.qk_norm && !qwen3.qkv_bias && qwen3.head_dim == 128);
    assert!(parse(&[("model_type", "\"qwen2\"")]).unwrap().qkv_bias);
}

#[test]
fn rope_is_read_from_either_place() {
    let scaling = r#"{"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0,
        "high_freq_factor": 4.0, "original_max_position_embeddings": 8192}"#;
    let llama3 = Llama3 {
        factor: 8.0,
        low_frequency_factor: 1.0,
        high_frequency_factor: 4.0,
        original_positions: 8192.0,
    };
    let config = parse(&[("rope_theta", "500000.0"), ("rope_scaling", scaling)]).unwrap();
    assert_eq!(config.rope, Rope { theta: 500_000.0, llama3: Some(llama3) });
    let parameters = r#"{"rope_type": "default", "rope_theta": 1000000}"#;
    let config = parse(&[("rope_parameters", parameters)]).unwrap();
    assert_eq!(config.rope, Rope { theta: 1_000_000.0, llama3: None });
}

#[test]
fn end_tokens_are_one_or_several() {
    assert_eq!(parse(&[("eos_token_id", "7")]).unwrap().end_tokens, [7]);
    assert_eq!(parse(&[("eos_token_id", "[7, 9]")]).unwrap().end_tokens, [7, 9]);
    assert!(parse(&[("eos_token_id", "null")]).unwrap().end_tokens.is_empty());
}

#[test]
fn refuses_what_is_not_implemented_by_name() {
    assert_eq!(feature(&[("model_type", "\"gemma2\"")]), "model_type gemma2");
    assert_eq!(feature(&[("hidden_act", "\"gelu\"")]), "hidden_act gelu");
    assert_eq!(feature(&[("attention_bias", "true")]), "attention_bias");
    assert_eq!(feature(&[("mlp_bias", "true")]), "mlp_bias");
    assert_eq!(feature(&[("quantization_config", "{\"bits\": 4}")]), "quantization_config");
    assert_eq!(feature(&[("rope_scaling", "{\"type\": \"yarn\"}")]), "rope_type yarn");
    assert_eq!(feature(&[("partial_rotary_factor", "0.5")]), "partial_rotary_factor");
    assert_eq!(feature(&[("use_sliding_window", "true")]), "use_sliding_window");
    let kinds = "[\"full_attention\", \"sliding_attention\"]";
    assert_eq!(feature(&[("layer_types", kinds)]), "layer_types sliding_attention");
}

#[test]
fn refuses_mistral_with_a_window() {
    let mistral = ("model_type", "\"mistral\"");
    assert!(parse(&[mistral, ("sliding_window", "null")]).is_ok());
    assert_eq!(feature(&[mistral, ("sliding_window", "4096")]), "sliding_window");
    assert_eq!(feature(&[mistral]), "sliding_window");
}

#[test]
fn refuses_missing_fields_and_impossible_sizes() {
    let missing = Config::from_json(b"{\"model_type\": \"llama\"}");
    assert_eq!(missing, Err(Unsupported::Missing("hidden_size")));
    assert_eq!(Config::from_json(b"{}"), Err(Unsupported::Missing("model_type")));
    for change in [
        ("num_key_value_heads", "3"),
        ("num_attention_heads", "0"),
        ("hidden_size", "4294967295"),
        ("head_dim", "6"),
        ("head_dim", "0"),
        ("num_hidden_layers", "100000"),
        ("vocab_size", "4000000000"),
        ("max_position_embeddings", "0"),
        ("rms_norm_eps", "0"),
        ("rope_theta", "0.5"),
        ("eos_token_id", "100"),
        ("eos_token_id", "[1, 4294967295]"),
    ] {
        assert!(matches!(parse(&[change]), Err(Unsupported::Size(_))), "{change:?}");
    }
    let stretch = r#"{"rope_type": "llama3", "factor": 8.0}"#;
    let missing = Err(Unsupported::Missing("low_freq_factor"));
    assert_eq!(parse(&[("rope_scaling", stretch)]), missing);
}

#[test]
fn refuses_everything_that_is_not_json() {
    for text in ["", "[]", "{", "{\"a\"}", "{\"a\": 1,}", "{} x"] {
        let found = Config::from_json(text.as_bytes());
        assert!(matches!(found, Err(Unsupported::Json(_))), "{text:.40}: {found:?}");
    }
    assert!(matches!(Config::from_json(b"{\"a\": \"\xff\"}"), Err(Unsupported::Json(_))));
}

#[test]
fn names_the_field_whose_value_is_none() {
    let deep = "[".repeat(100_000);
    for (name, value) in [
        ("a", ""),
        ("a", "\"\u{1}\""),
        ("a", "\"\\q\""),
        ("a", "\"\\ud800\""),
        ("a", "\"\\u12\""),
        ("a", "nul"),
        ("a", &deep),
        ("hidden_size", "-1"),
        ("hidden_size", "64.0"),
        ("hidden_size", "6e1"),
        ("hidden_size", "\"64\""),
        ("hidden_size", "99999999999"),
        ("rope_theta", "1e999"),
        ("eos_token_id", "[1, null]"),
    ] {
        match Config::from_json(format!("{{\"{name}\": {value}}}").as_bytes()) {
            Err(Unsupported::Field(told, _)) => assert_eq!(told, name),
            other => panic!("{name} {value:.40}: {other:?}"),
        }
    }
    let told = parse(&[("hidden_size", "576.5")]).unwrap_err().to_string();
    let end = "expected an integer from 0 to 4294967295";
    assert!(told.starts_with("config.json, hidden_size: invalid JSON at byte "), "{told}");
    assert!(told.ends_with(end), "{told}");
    let long = parse(&[(&"é".repeat(100_000), "-")]).unwrap_err().to_string();
    assert!(long.len() < 300, "{}", long.len());
}
