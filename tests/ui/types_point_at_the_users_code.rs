use annulet_macros as runtime;

// Stands in for the facade, so that the messages name no file of it.
mod facade {
    pub struct Builder;
    pub struct Runtime;

    impl Builder {
        pub fn new() -> Self {
            Self
        }
        pub fn entries(self, _entries: u32) -> Self {
            self
        }
        pub fn build(self) -> std::io::Result<Runtime> {
            Ok(Runtime)
        }
    }

    impl Runtime {
        pub fn block_on<F: Future>(&self, _future: F) -> F::Output {
            loop {}
        }
    }
}

#[runtime::main(crate = facade)]
async fn the_tail_expression() -> Result<(), String> {
    "7".parse::<u8>().map_err(|_| String::new())
}

#[runtime::main(crate = facade)]
async fn no_tail_expression() -> Result<(), String> {
    "7".parse::<u8>().map_err(|_| String::new())?;
}

#[runtime::main(crate = facade, entries = "many")]
async fn the_options_value() {}

fn main() {
    let _ = the_tail_expression();
    let _ = no_tail_expression();
    the_options_value();
}
