package org.example.shop;

/** What the shop's inventory offers; it is written in Go. */
public interface InventoryService {
    Reservation reserve(String sku, int count, Buyer buyer) throws UnknownSkuException;

    Stock stock(String sku) throws UnknownSkuException;
}
