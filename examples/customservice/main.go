// Command customservice shows the library at work.
package main

func main() {}
