package org.example.shop.gifts;

import io.github.resilience4j.bulkhead.annotation.Bulkhead;
import io.github.resilience4j.circuitbreaker.annotation.CircuitBreaker;
import org.springframework.stereotype.Service;

/** Wraps what can be wrapped. */
@Service
public class Wrapping {
    private static final String NAME = "wrapping";

    @CircuitBreaker(name = NAME, fallbackMethod = "bag")
    @Bulkhead(name = NAME)
    public String paper(String sku) {
        if (sku.startsWith("un")) {
            throw new IllegalArgumentException(sku + " has no shape that could be wrapped");
        }
        return "paper with stars";
    }

    String bag(String sku, Throwable reason) {
        return "bag";
    }
}
