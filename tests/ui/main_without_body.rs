use annulet_macros as runtime;

trait Server {
    #[runtime::main]
    async fn run();
}

fn main() {}
