package org.example;

/** What the tests' providers offer, which are written in Go. */
public interface Stock {
    String Greet(String name);
}
