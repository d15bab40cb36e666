package org.example.shop.gifts;

import org.springframework.cloud.openfeign.FeignClient;
import org.springframework.stereotype.Component;
import org.springframework.web.bind.annotation.GetMapping;
import org.springframework.web.bind.annotation.PathVariable;

/** The shop's prices, found by the name of their Service. Its circuit breaker is "PriceClient#price(String)". */
@FeignClient(name = "pricing", fallback = PriceClient.Catalogue.class)
public interface PriceClient {
    @GetMapping("/prices/{sku}")
    Price price(@PathVariable("sku") String sku);

    /** What pricing answers. */
    record Price(String sku, long cents, boolean stale, String servedBy) {
    }

    /** The printed catalogue has a price for everything, and a high one. */
    @Component
    class Catalogue implements PriceClient {
        @Override
        public Price price(String sku) {
            return new Price(sku, 9900, true, "the catalogue");
        }
    }
}
