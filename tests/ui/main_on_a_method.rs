use annulet_macros as runtime;

struct Server {
    port: u16,
}

impl Server {
    #[runtime::main]
    async fn run(&self) {
        println!("{}", self.port);
    }
}

fn main() {
    Server { port: 80 }.run();
}
