//! The model of the canister: configured, loaded, spoken with.

use candid::Principal;
use datanode_llama::Sampler;
use datanode_store::{Context, Error};
use serde_bytes::ByteBuf;

use crate::api::{
    Configuration, Continue, Generated, LoadPlan, LoadStep, ModelStatus, Prompt, Runners, Tokens,
};
use crate::checkpoint::Checkpoint;
use crate::conversation::Conversation;
use crate::conversations::Conversations;
use crate::load::{Loaded, Loading};
use crate::setup::Setup;

/// Version of the `model_*` interface.
pub const INTERFACE_VERSION: u32 = 1;

/// Instructions of a step of loading.
const LOAD_INSTRUCTIONS: u64 = 7_800_000_000;

/// Instructions after which an update generates no further token; a message has 40e9.
const UPDATE_INSTRUCTIONS: u64 = 30_000_000_000;

/// The same for a query, which has 5e9.
const QUERY_INSTRUCTIONS: u64 = 4_200_000_000;

/// Longest prompt, bytes.
const MAX_PROMPT_BYTES: usize = 1 << 20;

/// Most runners.
const MAX_RUNNERS: usize = 1_024;

/// Where the model is.
#[derive(Default)]
enum Stage {
    #[default]
    Idle,
    Loading(Box<Loading>),
    Loaded(Box<Loaded>),
}

/// The model, and the conversations with it. Only the setup outlives an upgrade.
pub struct Reader {
    setup: Setup,
    stage: Stage,
    conversations: Conversations,
}

impl Reader {
    /// Start with what an earlier module configured.
    pub fn new(setup: Setup) -> Self {
        Self { setup, stage: Stage::default(), conversations: Conversations::default() }
    }

    /// Return what must outlive an upgrade.
    pub fn setup(&self) -> &Setup {
        &self.setup
    }

    /// Tell whether a caller may spend the canister's cycles on the model.
    pub fn may_run(&self, context: &Context) -> bool {
        context.controller || self.setup.runners.contains(&context.caller)
    }

    fn require_runner(&self, context: &Context) -> Result<(), Error> {
        if self.may_run(context) { Ok(()) } else { Err(Error::Unauthorized) }
    }

    /// Choose the model to run. A loaded one is dropped, with its conversations.
    pub fn configure(
        &mut self,
        context: &Context,
        configuration: Configuration,
    ) -> Result<LoadPlan, Error> {
        require_controller(context)?;
        let checkpoint = Checkpoint::open(&configuration.model, configuration.version)?;
        let version = Some(checkpoint.version);
        let loading = Loading::plan(checkpoint, configuration.mode, configuration.part)?;
        let summary = loading.summary();
        self.setup.configuration = Some(Configuration { version, ..configuration });
        self.conversations = Conversations::default();
        self.stage = Stage::Loading(Box::new(loading));
        Ok(summary)
    }

    /// Load a part of the model that is configured.
    pub fn load(
        &mut self,
        context: &Context,
        max_instructions: u64,
        used: impl Fn() -> u64,
    ) -> Result<LoadStep, Error> {
        self.require_runner(context)?;
        if let Stage::Idle = self.stage {
            self.stage = Stage::Loading(Box::new(self.plan()?));
        }
        let most = max_instructions.min(LOAD_INSTRUCTIONS);
        let Stage::Loading(loading) = &mut self.stage else {
            let (chunks, of, weights, instructions) = (0, 0, 0, used());
            return Ok(LoadStep { done: true, chunks, of, weights, instructions });
        };
        let loaded = loading.step(most, &used)?;
        let (chunks, of, weights) = loading.progress();
        let done = loaded.is_some();
        if let Some(loaded) = loaded {
            self.stage = Stage::Loaded(Box::new(loaded));
        }
        Ok(LoadStep { done, chunks, of, weights, instructions: used() })
    }

    fn plan(&self) -> Result<Loading, Error> {
        let Some(configuration) = &self.setup.configuration else {
            return Err(Error::Conflict("no model is configured: call model_configure".into()));
        };
        let Configuration { model, version, mode, part } = configuration.clone();
        Loading::plan(Checkpoint::open(&model, version)?, mode, part)
    }

    fn loaded(&self) -> Result<&Loaded, Error> {
        match &self.stage {
            Stage::Loaded(loaded) => Ok(loaded),
            Stage::Loading(_) | Stage::Idle => {
                Err(Error::Conflict("the model is not loaded: call model_load until done".into()))
            }
        }
    }

    /// Begin a conversation and generate.
    pub fn start(
        &mut self,
        context: &Context,
        prompt: &Prompt,
        used: impl Fn() -> u64,
    ) -> Result<Generated, Error> {
        self.require_runner(context)?;
        let mut conversation = self.converse(context, prompt)?;
        let most = prompt.max_instructions.unwrap_or(UPDATE_INSTRUCTIONS).min(UPDATE_INSTRUCTIONS);
        let generated =
            generate(self.loaded()?, &mut conversation, prompt.max_tokens, || used() < most)?;
        let number = self.conversations.insert(context.caller, context.now_ns, conversation);
        self.conversations.fit(number);
        Ok(Generated { conversation: number, instructions: used(), ..generated })
    }

    /// Go on with a conversation.
    pub fn go_on(
        &mut self,
        context: &Context,
        wanted: Continue,
        used: impl Fn() -> u64,
    ) -> Result<Generated, Error> {
        self.require_runner(context)?;
        let Stage::Loaded(loaded) = &self.stage else {
            return Err(self.loaded().err().unwrap_or(Error::Unauthorized));
        };
        let number = wanted.conversation;
        let conversation = self.conversations.get(context.caller, number)?;
        let most = wanted.max_instructions.unwrap_or(UPDATE_INSTRUCTIONS).min(UPDATE_INSTRUCTIONS);
        let generated = generate(loaded, conversation, wanted.max_tokens, || used() < most)?;
        self.conversations.fit(number);
        Ok(Generated { conversation: number, instructions: used(), ..generated })
    }

    /// Generate without keeping anything, for whoever may read the model.
    pub fn ask(
        &self,
        context: &Context,
        prompt: &Prompt,
        used: impl Fn() -> u64,
    ) -> Result<Generated, Error> {
        let loaded = self.loaded()?;
        let mut conversation = self.converse(context, prompt)?;
        let most = prompt.max_instructions.unwrap_or(QUERY_INSTRUCTIONS).min(QUERY_INSTRUCTIONS);
        let generated = generate(loaded, &mut conversation, prompt.max_tokens, || used() < most)?;
        Ok(Generated { instructions: used(), ..generated })
    }

    fn converse(&self, context: &Context, prompt: &Prompt) -> Result<Conversation, Error> {
        let loaded = self.loaded()?;
        let tokens = encode(loaded, &prompt.prompt, prompt.add_special_tokens)?;
        let sampler = Sampler::new(prompt.temperature.unwrap_or(0.0), prompt.seed.unwrap_or(0));
        let cache = self.conversations.prefix(context.caller, &tokens);
        Conversation::new(&loaded.model, tokens, cache, sampler)
    }

    /// Split a text into tokens.
    pub fn tokenize(&self, text: &str) -> Result<Vec<u32>, Error> {
        encode(self.loaded()?, text, false)
    }

    /// Compute the logits after a text.
    pub fn logits(&self, wanted: &Tokens) -> Result<ByteBuf, Error> {
        let model = &self.loaded()?.model;
        let part = || Error::BadRequest("this canister runs a part of a model".into());
        let no_token = || Error::BadRequest("there is no such token".into());
        let mut cache = model.cache();
        let mut last = None;
        for (position, &token) in wanted.tokens.iter().enumerate() {
            let mut activations = model.embed(token).ok_or_else(no_token)?;
            model
                .blocks(&mut cache, position, &mut activations)
                .map_err(|error| Error::BadRequest(error.to_string()))?;
            last = Some(activations);
        }
        let last = last.ok_or_else(|| Error::BadRequest("there is no token".into()))?;
        let logits = model.logits(&last).ok_or_else(part)?;
        Ok(ByteBuf::from(logits.iter().flat_map(|logit| logit.to_le_bytes()).collect::<Vec<u8>>()))
    }

    /// End a conversation.
    pub fn end(&mut self, context: &Context, conversation: u64) {
        self.conversations.end(context.caller, conversation);
    }

    /// Let a principal run the model, or no longer.
    pub fn set_runner(
        &mut self,
        context: &Context,
        runner: Principal,
        is_allowed: bool,
    ) -> Result<(), Error> {
        require_controller(context)?;
        self.setup.runners.retain(|known| *known != runner);
        if !is_allowed {
            return Ok(());
        }
        if runner == Principal::anonymous() {
            return Err(Error::BadRequest("the anonymous principal cannot be a runner".into()));
        }
        if self.setup.runners.len() >= MAX_RUNNERS {
            return Err(Error::Conflict("there are too many runners: remove some".into()));
        }
        self.setup.runners.push(runner);
        Ok(())
    }

    /// List the runners.
    pub fn runners(&self, context: &Context) -> Result<Runners, Error> {
        require_controller(context)?;
        Ok(self.setup.runners.clone())
    }

    /// Return what is configured, whether or not it is loaded.
    pub fn configuration(&self) -> Option<&Configuration> {
        self.setup.configuration.as_ref()
    }

    /// Tell what the canister runs.
    pub fn status(&self, heap_bytes: u64) -> ModelStatus {
        let (chunks, of) = match &self.stage {
            Stage::Loading(loading) => (loading.progress().0, loading.progress().1),
            Stage::Idle | Stage::Loaded(_) => (0, 0),
        };
        let loaded = self.loaded().ok();
        ModelStatus {
            interface_version: INTERFACE_VERSION,
            configuration: self.setup.configuration.clone(),
            loaded: loaded.is_some(),
            chunks,
            of,
            max_positions: loaded.map_or(0, |loaded| loaded.model.config().positions as u32),
            conversations: self.conversations.len() as u32,
            cache_bytes: self.conversations.cache_bytes() as u64,
            heap_bytes,
        }
    }
}

fn require_controller(context: &Context) -> Result<(), Error> {
    if context.controller { Ok(()) } else { Err(Error::Unauthorized) }
}

fn encode(loaded: &Loaded, text: &str, add_special: bool) -> Result<Vec<u32>, Error> {
    let Some(tokenizer) = &loaded.tokenizer else {
        return Err(Error::BadRequest("this canister runs a part of a model".into()));
    };
    if text.len() > MAX_PROMPT_BYTES {
        return Err(Error::TooLarge { limit: MAX_PROMPT_BYTES as u64, got: text.len() as u64 });
    }
    let tokens = tokenizer.encode(text);
    Ok(if add_special { tokenizer.in_template(&tokens) } else { tokens })
}

fn generate(
    loaded: &Loaded,
    conversation: &mut Conversation,
    max_tokens: u32,
    may_go_on: impl Fn() -> bool,
) -> Result<Generated, Error> {
    let added = conversation.generate(loaded, max_tokens as usize, may_go_on)?;
    Ok(Generated {
        conversation: 0,
        text: added.text,
        tokens: added.tokens,
        prompt_tokens: conversation.prompt_tokens() as u32,
        positions: conversation.positions() as u32,
        finished: conversation.is_finished(),
        instructions: 0,
    })
}
