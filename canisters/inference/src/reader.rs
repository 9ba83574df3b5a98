//! The model of the canister: configured, loaded, spoken with.

use candid::Principal;
use datanode_llama::Sampler;
use datanode_store::{Context, Error};
use serde_bytes::ByteBuf;

use crate::api::{
    Configuration, Generated, LoadPlan, LoadStep, ModelStatus, Prompt, Runners, Tokens,
};
use crate::block::Guests;
use crate::checkpoint::Checkpoint;
use crate::conversation::{Conversation, whole_only};
use crate::conversations::Conversations;
use crate::hop::DIGEST_BYTES;
use crate::load::{Loaded, Loading};
use crate::setup::Setup;

/// Version of the `model_*` interface.
pub const INTERFACE_VERSION: u32 = 2;

/// Instructions of a step of loading.
const LOAD_INSTRUCTIONS: u64 = 7_800_000_000;

/// Instructions after which a query generates no further token; it has 5e9.
const QUERY_INSTRUCTIONS: u64 = 4_200_000_000;

/// Longest prompt, bytes.
const MAX_PROMPT_BYTES: usize = 1 << 20;

/// Most runners.
const MAX_RUNNERS: usize = 1_024;

/// Most canisters of a fleet.
const MAX_MEMBERS: usize = 64;

/// Where the model is.
#[derive(Default)]
pub(crate) enum Stage {
    #[default]
    Idle,
    Loading(Box<Loading>),
    Loaded(Box<Loaded>),
}

/// The model, and the conversations with it. Only the setup outlives an upgrade.
pub struct Reader {
    setup: Setup,
    pub(crate) stage: Stage,
    pub(crate) conversations: Conversations,
    /// Conversations of other canisters.
    pub(crate) guests: Guests,
}

impl Stage {
    pub(crate) fn loaded(&self) -> Result<&Loaded, Error> {
        match self {
            Self::Loaded(loaded) => Ok(loaded),
            Self::Loading(_) | Self::Idle => {
                Err(Error::Conflict("the model is not loaded: call model_load until done".into()))
            }
        }
    }
}

impl Reader {
    /// Start with what an earlier module configured.
    pub fn new(setup: Setup) -> Self {
        let (stage, conversations) = (Stage::default(), Conversations::default());
        Self { setup, stage, conversations, guests: Guests::default() }
    }

    /// Return what must outlive an upgrade.
    pub fn setup(&self) -> &Setup {
        &self.setup
    }

    /// Tell whether a caller may spend the canister's cycles on the model.
    pub fn may_run(&self, context: &Context) -> bool {
        context.controller || self.setup.runners.contains(&context.caller)
    }

    pub(crate) fn require_runner(&self, context: &Context) -> Result<(), Error> {
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
        let is_driver = check_fleet(&configuration, context.node)?;
        let loading = Loading::plan(checkpoint, configuration.mode, configuration.part, is_driver)?;
        let summary = loading.summary();
        self.setup.configuration = Some(Configuration { version, ..configuration });
        self.conversations = Conversations::default();
        self.guests = Guests::default();
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
        let Configuration { model, version, mode, part, .. } = configuration;
        Loading::plan(Checkpoint::open(model, *version)?, *mode, *part, self.is_driver())
    }

    fn loaded(&self) -> Result<&Loaded, Error> {
        self.stage.loaded()
    }

    /// Generate without keeping anything, for whoever may read the model.
    pub fn ask(
        &self,
        context: &Context,
        prompt: &Prompt,
        used: impl Fn() -> u64,
    ) -> Result<Generated, Error> {
        let loaded = self.loaded()?;
        if self.is_driver() {
            let text = "a query does not call other canisters: start a conversation";
            return Err(Error::BadRequest(text.into()));
        }
        let mut conversation = self.converse(context, prompt)?;
        let most = prompt.max_instructions.unwrap_or(QUERY_INSTRUCTIONS).min(QUERY_INSTRUCTIONS);
        let generated = generate(loaded, &mut conversation, prompt.max_tokens, || used() < most)?;
        Ok(Generated { instructions: used(), ..generated })
    }

    pub(crate) fn converse(
        &self,
        context: &Context,
        prompt: &Prompt,
    ) -> Result<Conversation, Error> {
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
        let logits = model.logits(&last).ok_or_else(whole_only)?;
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

    /// Tell whether the model is loaded, or how many chunks of how many are.
    pub fn progress(&self) -> (bool, u32, u32) {
        match &self.stage {
            Stage::Idle => (false, 0, 0),
            Stage::Loading(loading) => (false, loading.progress().0, loading.progress().1),
            Stage::Loaded(_) => (true, 0, 0),
        }
    }

    /// Tell what the canister runs.
    pub fn status(&self, heap_bytes: u64) -> ModelStatus {
        let (is_loaded, chunks, of) = self.progress();
        let loaded = self.loaded().ok();
        ModelStatus {
            interface_version: INTERFACE_VERSION,
            configuration: self.setup.configuration.clone(),
            loaded: is_loaded,
            chunks,
            of,
            max_positions: loaded.map_or(0, |loaded| loaded.model.config().positions as u32),
            conversations: (self.conversations.len() + self.guests.len()) as u32,
            cache_bytes: (self.conversations.cache_bytes() + self.guests.cache_bytes()) as u64,
            heap_bytes,
        }
    }
}

/// Check how a part goes together with others; tells whether it drives them.
fn check_fleet(configuration: &Configuration, own: Principal) -> Result<bool, Error> {
    let Some(fleet) = &configuration.fleet else { return Ok(false) };
    let refuse = |text: &str| Err(Error::BadRequest(text.into()));
    let (blocks, drivers) = (&fleet.blocks, &fleet.drivers);
    if fleet.whole.len() != DIGEST_BYTES || blocks.len().max(drivers.len()) > MAX_MEMBERS {
        return refuse("a fleet has a digest of 32 bytes and at most 64 members");
    }
    if blocks.contains(&own) || drivers.contains(&own) {
        return refuse("a canister does not call itself");
    }
    let is_first = configuration.part.is_some_and(|part| part.embed && part.first_block == 0);
    if !blocks.is_empty() && !is_first {
        return refuse("the driver of a fleet has the embedding and the first blocks");
    }
    Ok(!blocks.is_empty())
}

fn require_controller(context: &Context) -> Result<(), Error> {
    if context.controller { Ok(()) } else { Err(Error::Unauthorized) }
}

fn encode(loaded: &Loaded, text: &str, add_special: bool) -> Result<Vec<u32>, Error> {
    let Some(tokenizer) = &loaded.tokenizer else {
        return Err(whole_only());
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
        hops: None,
    })
}
