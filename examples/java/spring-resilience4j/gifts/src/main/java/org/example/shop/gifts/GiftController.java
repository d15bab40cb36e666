package org.example.shop.gifts;

import org.springframework.web.bind.annotation.GetMapping;
import org.springframework.web.bind.annotation.PathVariable;
import org.springframework.web.bind.annotation.RestController;

@RestController
public class GiftController {
    private static final long WRAPPING_CENTS = 250;

    private final PriceClient prices;
    private final Wrapping wrapping;

    public GiftController(PriceClient prices, Wrapping wrapping) {
        this.prices = prices;
        this.wrapping = wrapping;
    }

    /** What an article costs as a gift, and whose word the price is. */
    public record Gift(String sku, String wrapping, long cents, boolean stale, String pricedBy) {
    }

    @GetMapping("/gifts/{sku}")
    public Gift gift(@PathVariable String sku) {
        PriceClient.Price price = prices.price(sku);
        return new Gift(sku, wrapping.paper(sku), price.cents() + WRAPPING_CENTS, price.stale(), price.servedBy());
    }
}
