package org.example.shop;

import java.math.BigDecimal;
import java.util.List;
import java.util.Map;
import java.util.Set;

/** What the catalogue knows of the shop's articles. */
public interface CatalogueService {
    /** One article, and what inventory has of it. */
    Article article(String sku) throws UnknownSkuException;

    /** The articles of a category that cost no more than a price, by their SKU. */
    Map<String, Article> search(Category category, BigDecimal atMost);

    /** All articles, or those in the set. */
    List<Article> articles(Set<String> skus);

    /** Notes an article and answers it as it was understood. */
    Article note(Article article);

    /** Takes an article out of print, which one cannot. */
    void withdraw(String sku);

    /** What came along with the call beside its arguments, by keys that are asked for. */
    Map<String, String> baggage(List<String> keys);
}
