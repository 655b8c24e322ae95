@main
struct TreadleServerProgram {
  static func main() { serve(userFunction) }
}
