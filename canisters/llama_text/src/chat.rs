//! Chat formats: how a conversation is written for a model.
//!
//! A `chat_template` is a program in Jinja. Instead of running it, its format is recognized by the
//! special tokens that it writes; templates with another format are refused.

use std::fmt::Write;

/// A way to write a conversation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChatFormat {
    /// `<|im_start|>role\n...<|im_end|>\n` (SmolLM2, Qwen2, Qwen3).
    ChatMl {
        /// System message of a conversation that has none.
        default_system: Option<String>,
    },
    /// `<|start_header_id|>role<|end_header_id|>\n\n...<|eot_id|>` (Llama 3).
    Llama3,
}

/// One message of a conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    /// `system`, `user` or `assistant`.
    pub role: &'a str,
    /// What was said.
    pub content: &'a str,
}

const START: &str = "<|im_start|>";
const SYSTEM: &str = "<|im_start|>system\\n";
const END: &str = "<|im_end|>";

impl ChatFormat {
    /// Recognize the format of a `chat_template`, or nothing.
    pub fn from_template(template: &str) -> Option<Self> {
        if template.contains("<|start_header_id|>") && template.contains("<|eot_id|>") {
            return Some(Self::Llama3);
        }
        if !template.contains(START) || !template.contains(END) {
            return None;
        }
        // In the source of a template a line break is written either way.
        let template = template.replace('\n', "\\n");
        let written = template.split(SYSTEM).skip(1).find_map(|rest| {
            let message = rest.split_once(END)?.0;
            let plain = !message.contains(['\'', '"', '{', '}']);
            (plain && !message.is_empty()).then(|| message.replace("\\n", "\n"))
        });
        Some(Self::ChatMl { default_system: written })
    }

    /// Write a conversation up to where the assistant speaks.
    pub fn write(&self, messages: &[Message<'_>]) -> String {
        let mut text = String::new();
        let mut add = |role: &str, content: &str| {
            let _ = match self {
                Self::ChatMl { .. } => write!(text, "{START}{role}\n{content}{END}\n"),
                Self::Llama3 => write!(
                    text,
                    "<|start_header_id|>{role}<|end_header_id|>\n\n{}<|eot_id|>",
                    content.trim()
                ),
            };
        };
        if let Self::ChatMl { default_system: Some(system) } = self
            && messages.first().is_some_and(|first| first.role != "system")
        {
            add("system", system);
        }
        for message in messages {
            add(message.role, message.content);
        }
        match self {
            Self::ChatMl { .. } => text + START + "assistant\n",
            Self::Llama3 => {
                format!("<|begin_of_text|>{text}<|start_header_id|>assistant<|end_header_id|>\n\n")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{ChatFormat, Message};

    const SMOLLM2: &str = "{% for message in messages %}{% if loop.first and messages[0]['role'] \
        != 'system' %}{{ '<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained \
        by Hugging Face<|im_end|>\n' }}{% endif %}{{'<|im_start|>' + message['role'] + '\n' + \
        message['content'] + '<|im_end|>' + '\n'}}{% endfor %}{% if add_generation_prompt %}\
        {{ '<|im_start|>assistant\n' }}{% endif %}";

    #[test]
    fn smollm2_has_a_system_message_of_its_own() {
        let format = ChatFormat::from_template(SMOLLM2).unwrap();
        let hello = Message { role: "user", content: "Hi" };
        let system = "You are a helpful AI assistant named SmolLM, trained by Hugging Face";
        let expected = format!(
            "<|im_start|>system\n{system}<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n\
            <|im_start|>assistant\n"
        );
        assert_eq!(format.write(&[hello]), expected);
        let own = Message { role: "system", content: "Be brief." };
        assert!(format.write(&[own, hello]).starts_with("<|im_start|>system\nBe brief.<|im_end|>"));
    }

    #[test]
    fn escaped_line_breaks_are_line_breaks() {
        let template = "{{- '<|im_start|>system\\nYou are Qwen.<|im_end|>\\n' }}<|im_end|>";
        let format = ChatFormat::from_template(template);
        let default_system = Some("You are Qwen.".into());
        assert_eq!(format, Some(ChatFormat::ChatMl { default_system }));
        let none = "{{- '<|im_start|>system\\n' + messages[0].content + '<|im_end|>\\n' }}";
        let format = ChatFormat::from_template(none);
        assert_eq!(format, Some(ChatFormat::ChatMl { default_system: None }));
    }

    #[test]
    fn llama3_begins_with_its_token() {
        let template = "{{ '<|start_header_id|>' + role + '<|end_header_id|>\n\n' }}<|eot_id|>";
        let format = ChatFormat::from_template(template).unwrap();
        let expected = "<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|>\
            <|start_header_id|>assistant<|end_header_id|>\n\n";
        assert_eq!(format.write(&[Message { role: "user", content: " Hi " }]), expected);
    }

    #[test]
    fn unknown_formats_are_refused() {
        assert_eq!(ChatFormat::from_template("[INST] {{ content }} [/INST]"), None);
    }
}
