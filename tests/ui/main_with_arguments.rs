use annulet_macros as runtime;

#[runtime::main]
async fn main(args: Vec<String>, count: usize) {
    println!("{} of {count}", args.len());
}
