package org.example.shop.delivery;

import org.springframework.cloud.openfeign.FeignClient;
import org.springframework.stereotype.Component;
import org.springframework.web.bind.annotation.GetMapping;
import org.springframework.web.bind.annotation.PathVariable;

/** The carriers, found by the name of their Service. Its Hystrix command is "CarrierClient#quote(String)". */
@FeignClient(name = "carriers", fallback = CarrierClient.Post.class)
public interface CarrierClient {
    @GetMapping("/quotes/{sku}")
    Quote quote(@PathVariable("sku") String sku);

    /** The post delivers whatever happens, and late. */
    @Component
    class Post implements CarrierClient {
        @Override
        public Quote quote(String sku) {
            Quote quote = new Quote();
            quote.setCarrier("post");
            quote.setDays(7);
            return quote;
        }
    }
}
